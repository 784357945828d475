;; The guest that all measurements share: no allocator to speak of, no library, so that what is measured is not its own
;; work. Its state is any bytes; each call adds 1 to the first 8 of them, so that every transition has a new state; but a
;; request "r" + anything leaves the state as it is.
;;
;; A request "f" + n (u32, little-endian) + id (36 bytes) + payload: makes n requests of the actor id with the payload,
;; answers with the last answer. "s" likewise makes n sends, answers with the payload. Any other request is its own answer.
(component
  (import "ntwk:theater/message-server-host" (instance $host
    (export "send" (func (param "actor-id" string) (param "msg" (list u8)) (result (result (error string)))))
    (export "request"
      (func (param "actor-id" string) (param "msg" (list u8)) (result (result (list u8) (error string)))))))

  ;; Memory is handed out from 1024 upwards, and all of it given back when a call is over.
  (core module $heap
    (memory (export "memory") 48)
    (global $free (export "free") (mut i32) (i32.const 1024))
    (func (export "realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (global.get $free))
      (global.set $free (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 15)) (i32.const -16)))
      (local.get $at)))
  (core instance $heap (instantiate $heap))
  (alias core export $heap "memory" (core memory $memory))
  (alias core export $heap "realloc" (core func $realloc))
  (core func $send (canon lower (func $host "send") (memory $memory) (realloc $realloc)))
  (core func $request (canon lower (func $host "request") (memory $memory) (realloc $realloc)))

  (core module $actor
    (import "heap" "memory" (memory 48))
    (import "heap" "free" (global $free (mut i32)))
    (import "host" "send" (func $send (param i32 i32 i32 i32 i32)))
    (import "host" "request" (func $request (param i32 i32 i32 i32 i32)))

    (func $count (param $state i32) (param $length i32)
      (if (i32.ge_u (local.get $length) (i32.const 8))
        (then (i64.store (local.get $state) (i64.add (i64.load (local.get $state)) (i64.const 1))))))

    ;; ok((state,)), at 16
    (func $ok (param $some i32) (param $state i32) (param $length i32) (result i32)
      (i32.store (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (local.get $some))
      (i32.store (i32.const 24) (local.get $state))
      (i32.store (i32.const 28) (local.get $length))
      (i32.const 16))

    ;; err(text), at 16; the text stands at 68 as pointer and length
    (func $err (result i32)
      (i32.store (i32.const 16) (i32.const 1))
      (i32.store (i32.const 20) (i32.load (i32.const 68)))
      (i32.store (i32.const 24) (i32.load (i32.const 72)))
      (i32.const 16))

    (func (export "init") (param $some i32) (param $state i32) (param $length i32) (param i32 i32) (result i32)
      (call $ok (local.get $some) (local.get $state) (local.get $length)))

    (func (export "handle-send") (param $some i32) (param $state i32) (param $length i32) (param i32 i32) (result i32)
      (if (local.get $some) (then (call $count (local.get $state) (local.get $length))))
      (call $ok (local.get $some) (local.get $state) (local.get $length)))

    (func (export "handle-request")
      (param $some i32) (param $state i32) (param $length i32) (param $message i32) (param $size i32) (result i32)
      (local $kind i32) (local $left i32) (local $mark i32)
      (if (local.get $size) (then (local.set $kind (i32.load8_u (local.get $message)))))
      (if (i32.and (local.get $some) (i32.ne (local.get $kind) (i32.const 114)))
        (then (call $count (local.get $state) (local.get $length))))
      (if (i32.ge_u (local.get $size) (i32.const 41)) (then
        (if (i32.or (i32.eq (local.get $kind) (i32.const 102)) (i32.eq (local.get $kind) (i32.const 115))) (then
          (local.set $left (i32.load align=1 (i32.add (local.get $message) (i32.const 1))))
          (local.set $size (i32.sub (local.get $size) (i32.const 41)))
          (local.set $mark (global.get $free))
          (loop $again
            (global.set $free (local.get $mark))
            (if (i32.eq (local.get $kind) (i32.const 102))
              (then (call $request (i32.add (local.get $message) (i32.const 5)) (i32.const 36)
                (i32.add (local.get $message) (i32.const 41)) (local.get $size) (i32.const 64)))
              (else (call $send (i32.add (local.get $message) (i32.const 5)) (i32.const 36)
                (i32.add (local.get $message) (i32.const 41)) (local.get $size) (i32.const 64))))
            (if (i32.load8_u (i32.const 64)) (then (return (call $err))))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $again (local.get $left)))
          (local.set $message (i32.add (local.get $message) (i32.const 41)))
          (if (i32.eq (local.get $kind) (i32.const 102)) (then
            (local.set $message (i32.load (i32.const 68)))
            (local.set $size (i32.load (i32.const 72)))))))))
      (i32.store (i32.const 32) (local.get $message))
      (i32.store (i32.const 36) (local.get $size))
      (call $ok (local.get $some) (local.get $state) (local.get $length)))

    (func (export "done") (param i32) (global.set $free (i32.const 1024))))
  (core instance $actor (instantiate $actor
    (with "heap" (instance $heap))
    (with "host" (instance (export "send" (func $send)) (export "request" (func $request))))))
  (alias core export $actor "done" (core func $done))

  (type $bytes (list u8))
  (type $state (option $bytes))
  (func $init
    (param "state" $state) (param "params" (tuple string)) (result (result (tuple $state) (error string)))
    (canon lift (core func $actor "init") (memory $memory) (realloc $realloc) (post-return $done)))
  (func $handle-send
    (param "state" $state) (param "params" (tuple $bytes)) (result (result (tuple $state) (error string)))
    (canon lift (core func $actor "handle-send") (memory $memory) (realloc $realloc) (post-return $done)))
  (func $handle-request
    (param "state" $state) (param "params" (tuple $bytes))
    (result (result (tuple $state (tuple $bytes)) (error string)))
    (canon lift (core func $actor "handle-request") (memory $memory) (realloc $realloc) (post-return $done)))
  (instance $actor-exports (export "init" (func $init)))
  (export "ntwk:theater/actor" (instance $actor-exports))
  (instance $client-exports
    (export "handle-send" (func $handle-send))
    (export "handle-request" (func $handle-request)))
  (export "ntwk:theater/message-server-client" (instance $client-exports)))
