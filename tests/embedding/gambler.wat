;; An actor with a capability of an embedder's own: it answers each request with the number that `acme:dice/dice.roll`
;; gives of six sides, as one decimal digit; a request that is not empty it hands to `acme:dice/dice.pay` first, whose
;; error is its own.
(component
  (import "acme:dice/dice" (instance $dice
    (export "roll" (func (param "sides" u32) (result u32)))
    (export "pay" (func (param "stake" (list u8)) (result (result u64 (error string)))))))

  (core module $heap
    (memory (export "memory") 64)
    (global $free (export "free") (mut i32) (i32.const 128))
    (func (export "realloc") (param i32 i32 i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (global.get $free))
      (global.set $free (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 15)) (i32.const -16)))
      (local.get $at)))
  (core instance $heap (instantiate $heap))
  (alias core export $heap "memory" (core memory $memory))
  (alias core export $heap "realloc" (core func $realloc))
  (core func $roll (canon lower (func $dice "roll")))
  (core func $pay (canon lower (func $dice "pay") (memory $memory) (realloc $realloc)))

  (core module $gambler
    (import "heap" "memory" (memory 64))
    (import "heap" "free" (global $free (mut i32)))
    (import "dice" "roll" (func $roll (param i32) (result i32)))
    (import "dice" "pay" (func $pay (param i32 i32 i32)))
    (func $ok (param $some i32) (param $state i32) (param $length i32) (result i32)
      (i32.store (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (local.get $some))
      (i32.store (i32.const 24) (local.get $state))
      (i32.store (i32.const 28) (local.get $length))
      (i32.const 16))
    (func (export "init") (param $some i32) (param $state i32) (param $length i32) (param i32 i32) (result i32)
      (call $ok (local.get $some) (local.get $state) (local.get $length)))
    (func (export "handle-request")
      (param $some i32) (param $state i32) (param $length i32) (param $message i32) (param $size i32) (result i32)
      (if (local.get $size) (then
        (call $pay (local.get $message) (local.get $size) (i32.const 64))
        ;; err(text): the text stands at 72 as pointer and length
        (if (i32.load8_u (i32.const 64)) (then
          (i32.store (i32.const 16) (i32.const 1))
          (i32.store (i32.const 20) (i32.load (i32.const 72)))
          (i32.store (i32.const 24) (i32.load (i32.const 76)))
          (return (i32.const 16))))))
      (i32.store8 (i32.const 48) (i32.add (call $roll (i32.const 6)) (i32.const 48)))
      (i32.store (i32.const 32) (i32.const 48))
      (i32.store (i32.const 36) (i32.const 1))
      (call $ok (local.get $some) (local.get $state) (local.get $length)))
    (func (export "done") (param i32) (global.set $free (i32.const 128))))
  (core instance $gambler (instantiate $gambler
    (with "heap" (instance $heap))
    (with "dice" (instance (export "roll" (func $roll)) (export "pay" (func $pay))))))
  (alias core export $gambler "done" (core func $done))

  (type $bytes (list u8))
  (type $state (option $bytes))
  (func $init
    (param "state" $state) (param "params" (tuple string)) (result (result (tuple $state) (error string)))
    (canon lift (core func $gambler "init") (memory $memory) (realloc $realloc) (post-return $done)))
  (func $handle-request
    (param "state" $state) (param "params" (tuple $bytes))
    (result (result (tuple $state (tuple $bytes)) (error string)))
    (canon lift (core func $gambler "handle-request") (memory $memory) (realloc $realloc) (post-return $done)))
  (instance $actor (export "init" (func $init)))
  (export "ntwk:theater/actor" (instance $actor))
  (instance $client (export "handle-request" (func $handle-request)))
  (export "ntwk:theater/message-server-client" (instance $client)))
