;; The actor of docs/embedding.md, as text. It has no state, and answers each request with "hello, " and the request.
;; `docs/greeter.wasm` is the same as bytes; tests/embedding.rs compares them.
(component
  ;; A call hands out memory from 64 upwards; the end of the call gives all of it back.
  (core module $greeter
    (memory (export "memory") 64)
    (data (i32.const 0) "hello, ")
    (global $free (mut i32) (i32.const 64))
    (func $realloc (export "realloc") (param i32 i32 i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (global.get $free))
      (global.set $free (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 15)) (i32.const -16)))
      (local.get $at))

    ;; Ok with the state as it was: the result is at address 16, the state from address 20 on.
    (func $ok (param $some i32) (param $state i32) (param $length i32) (result i32)
      (i32.store (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (local.get $some))
      (i32.store (i32.const 24) (local.get $state))
      (i32.store (i32.const 28) (local.get $length))
      (i32.const 16))

    (func (export "init") (param $some i32) (param $state i32) (param $length i32) (param i32 i32) (result i32)
      (call $ok (local.get $some) (local.get $state) (local.get $length)))

    ;; The answer comes after the state, as pointer and length.
    (func (export "handle-request")
      (param $some i32) (param $state i32) (param $length i32) (param $message i32) (param $size i32) (result i32)
      (local $answer i32)
      (local.set $answer (call $realloc (i32.const 0) (i32.const 0) (i32.const 1)
        (i32.add (local.get $size) (i32.const 7))))
      (memory.copy (local.get $answer) (i32.const 0) (i32.const 7))
      (memory.copy (i32.add (local.get $answer) (i32.const 7)) (local.get $message) (local.get $size))
      (i32.store (i32.const 32) (local.get $answer))
      (i32.store (i32.const 36) (i32.add (local.get $size) (i32.const 7)))
      (call $ok (local.get $some) (local.get $state) (local.get $length)))

    (func (export "done") (param i32) (global.set $free (i32.const 64))))
  (core instance $greeter (instantiate $greeter))
  (alias core export $greeter "memory" (core memory $memory))
  (alias core export $greeter "realloc" (core func $realloc))
  (alias core export $greeter "done" (core func $done))

  (type $bytes (list u8))
  (type $state (option $bytes))
  (func $init
    (param "state" $state) (param "params" (tuple string)) (result (result (tuple $state) (error string)))
    (canon lift (core func $greeter "init") (memory $memory) (realloc $realloc) (post-return $done)))
  (func $handle-request
    (param "state" $state) (param "params" (tuple $bytes))
    (result (result (tuple $state (tuple $bytes)) (error string)))
    (canon lift (core func $greeter "handle-request") (memory $memory) (realloc $realloc) (post-return $done)))
  (instance $actor (export "init" (func $init)))
  (export "ntwk:theater/actor" (instance $actor))
  (instance $client (export "handle-request" (func $handle-request)))
  (export "ntwk:theater/message-server-client" (instance $client)))
