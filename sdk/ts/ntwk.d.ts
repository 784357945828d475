// The interfaces of `wit/` that the library imports, as TypeScript sees them.
declare module 'ntwk:theater/runtime' {
  export function log(text: string): void;
}
declare module 'ntwk:theater/config' {
  export function get(key: string): Uint8Array | null | undefined;
}
declare module 'ntwk:theater/message-server-host' {
  export function send(actor: string, message: Uint8Array): void;
  export function request(actor: string, message: Uint8Array): Uint8Array;
}
declare module 'ntwk:theater/clock' {
  export function now(): bigint;
}
declare module 'ntwk:theater/random' {
  export function bytes(n: number): Uint8Array;
}
declare module 'ntwk:theater/http-client' {
  export function sendHttp(request: {
    method: string;
    uri: string;
    headers: [string, string][];
    body?: Uint8Array | null;
  }): { status: number; headers: [string, string][]; body?: Uint8Array | null };
}
declare module 'ntwk:theater/timer' {
  export function set(key: string, afterMs: bigint, message: Uint8Array): bigint;
  export function every(key: string, ms: bigint, message: Uint8Array): bigint;
  export function cron(key: string, expression: string, zone: string, message: Uint8Array): bigint;
  export function cancel(key: string): boolean;
}
declare module 'ntwk:theater/monitors' {
  export function monitor(actor: string): bigint;
  export function demonitor(reference: bigint): boolean;
}
