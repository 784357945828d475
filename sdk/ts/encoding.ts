// UTF-8, for engines that bring no TextEncoder and no TextDecoder.

const globals = globalThis as any;

if (globals.TextEncoder === undefined) {
  globals.TextEncoder = class TextEncoder {
    readonly encoding = 'utf-8';
    encode(text = ''): Uint8Array {
      // `encodeURIComponent` throws for half a surrogate pair, which UTF-8 writes as U+FFFD.
      const escaped = unescape(encodeURIComponent(globals.String.prototype.toWellFormed.call(text)));
      const bytes = new Uint8Array(escaped.length);
      for (let at = 0; at < escaped.length; at++) bytes[at] = escaped.charCodeAt(at);
      return bytes;
    }
  };
}

if (globals.TextDecoder === undefined) {
  globals.TextDecoder = class TextDecoder {
    readonly encoding = 'utf-8';
    constructor(label = 'utf-8', readonly options: { fatal?: boolean } = {}) {
      if (!/^utf-?8$/i.test(label)) throw new RangeError(`an actor decodes UTF-8 only, and not ${label}`);
    }
    decode(bytes: Uint8Array = new Uint8Array()): string {
      const view = ArrayBuffer.isView(bytes)
        ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
        : new Uint8Array(bytes);
      return decoded(view, this.options.fatal === true);
    }
  };
}

function decoded(bytes: Uint8Array, fatal: boolean): string {
  const text: string[] = [];
  let at = 0;
  let piece: number[] = [];
  const flush = () => {
    text.push(String.fromCodePoint(...piece));
    piece = [];
  };
  while (at < bytes.length) {
    const first = bytes[at]!;
    const more = first < 0x80 ? 0 : first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xf0 && first < 0xf5 ? 3 : -1;
    let point = more === 0 ? first : first & (0x3f >> more);
    let good = more >= 0;
    let next = at + 1;
    for (let i = 0; good && i < more; i++, next++) {
      const byte = bytes[next];
      // The second byte decides whether the form is the shortest one, no surrogate, and in range.
      const low = i === 0 ? ({ 0xe0: 0xa0, 0xf0: 0x90 } as any)[first] ?? 0x80 : 0x80;
      const high = i === 0 ? ({ 0xed: 0x9f, 0xf4: 0x8f } as any)[first] ?? 0xbf : 0xbf;
      if (byte === undefined || byte < low || byte > high) {
        good = false;
        break;
      }
      point = (point << 6) | (byte & 0x3f);
    }
    if (!good && fatal) throw new TypeError('the bytes are no UTF-8');
    piece.push(good ? point : 0xfffd);
    at = good ? next : Math.max(next, at + 1);
    if (piece.length === 4096) flush();
  }
  flush();
  return text.join('');
}

export {};
