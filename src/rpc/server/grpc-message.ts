/**
 * The text of an error in the `grpc-message` trailer, encoded as the gRPC specification asks: only what is not
 * printable ASCII, and the percent sign. Connect escapes `:` `/` `,` too, and clients that decode by the
 * specification (grpc-js) would show `%3A` to people.
 */

/** `text` as UTF-8 with the bytes outside 0x20–0x7E and `%` as `%XX`; outer spaces too, since HTTP trims them. */
function encodeGrpcMessage(text: string): string {
  const bytes = Buffer.from(text);
  let encoded = "";
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index] as number;
    const outerSpace = byte === 0x20 && (index === 0 || index === bytes.length - 1);
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25 && !outerSpace;
    encoded += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return encoded;
}

/** Rewrites the trailer that Connect made (`encodeURIComponent`). */
export function respellGrpcMessage(trailer: Headers): void {
  const message = trailer.get("grpc-message");
  if (message !== null) trailer.set("grpc-message", encodeGrpcMessage(decodeURIComponent(message)));
}
