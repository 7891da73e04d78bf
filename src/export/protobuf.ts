/** As much of protocol buffers' wire format as a writer needs: a field is its number and wire type, then a number, four bytes, or bytes behind their length. */

/** Parts of a message, in order. */
export type Message = readonly Uint8Array[];

const utf8 = new TextEncoder();

/** Seven bits a byte, the least first; negative numbers as 64-bit two's complement. */
const varint = (value: number): Uint8Array => {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    bytes.push(Number(rest & 127n) | (rest > 127n ? 128 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Uint8Array.from(bytes);
};

export const lengthOf = (message: Message): number => message.reduce((sum, part) => sum + part.length, 0);

/** A field that holds an integer. */
export const integer = (field: number, value: number): Message => [varint(field * 8), varint(value)];

/** A field that holds a float32. */
export const float = (field: number, value: number): Message => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, value, true);
  return [varint(field * 8 + 5), bytes];
};

/** A field that holds a text, bytes, or a message of its own. */
export const content = (field: number, value: string | Uint8Array | Message): Message => {
  const parts = typeof value === "string" ? [utf8.encode(value)] : value instanceof Uint8Array ? [value] : value;
  return [varint(field * 8 + 2), varint(lengthOf(parts)), ...parts];
};

/** The bytes of a whole message. */
export const bytesOf = (message: Message): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(lengthOf(message));
  let at = 0;
  for (const part of message) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
};
