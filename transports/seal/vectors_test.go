package seal

// The example of docs/wire-data.md: secret 00..1f, label 01020304, nonces all
// a0 and all b0, AES-128-GCM, body "hello" from the dialler.
const (
	vectorHello   = "474d76310001000001020304a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0cb17fdffe8b788077877842345942ba48d2bb119260451a424297036892a50e1"
	vectorReply   = "b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b001000000d3d28296640fadc74cc307ee12bb8466d82635439c89a69ed213741d1a221a0b"
	vectorConfirm = "ee8ed75da6a0c67d7a187769bf1c8f594c97f66db71ec96c20f494abacf920c7"
	vectorRecord  = "00000005be2daf297c428d81477547ec56726fbae6a0b27ae4"
)
