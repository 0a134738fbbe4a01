/** Bytes as text, piece by piece, without a byte order mark. */
import { failure } from "../../../domain/failure.ts";
import { decodeUtf8, utf8Charset } from "../../file-formats.ts";
import { FileFault } from "./file-fault.ts";

/** The text; throws BrokenText (SCHEMA) with the place where it is broken. @param charset [UTF-8] */
export async function* textIn(bytes: AsyncIterable<Uint8Array>, charset: string | undefined): AsyncIterable<string> {
  const decoder = utf8Charset(charset) ? new Utf8Pieces() : new OtherPieces(charset ?? "");
  for await (const piece of bytes) {
    const text = decoder.write(Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength));
    if (text !== "") yield text;
  }
  const last = decoder.end();
  if (last !== "") yield last;
}

/** The bytes are no text in that character set. */
export class BrokenText extends FileFault {}

class Utf8Pieces {
  /** A character that a piece has cut. */
  #cut = Buffer.alloc(0);
  #before = { bytes: 0, lines: 0 };

  write(piece: Buffer): string {
    const bytes = this.#cut.length > 0 ? Buffer.concat([this.#cut, piece]) : piece;
    const complete = bytes.length - cutBytes(bytes);
    this.#cut = Buffer.from(bytes.subarray(complete));
    return this.#decode(bytes.subarray(0, complete));
  }

  end(): string {
    return this.#decode(this.#cut);
  }

  #decode(bytes: Buffer): string {
    const text = decodeUtf8(bytes, this.#before);
    if (!text.ok) throw new BrokenText(text.fault);
    this.#before = { bytes: this.#before.bytes + bytes.length, lines: this.#before.lines + countLineFeeds(bytes) };
    return text.value;
  }
}

/** Bytes at the end that begin a character which is not complete. */
function cutBytes(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] as number;
    if ((byte & 0xc0) === 0x80) continue;
    const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return needed > back ? back : 0;
  }
  return 0;
}

function countLineFeeds(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) count++;
  return count;
}

class OtherPieces {
  readonly #charset: string;
  readonly #decoder: InstanceType<typeof TextDecoder>;
  /** What is no text in UTF-8 (NUL) is none in another character set. */
  readonly #checked = new Utf8Pieces();

  constructor(charset: string) {
    this.#charset = charset;
    this.#decoder = new TextDecoder(charset, { fatal: true });
  }

  write(piece: Buffer): string {
    return this.#checked.write(Buffer.from(this.#decoded(() => this.#decoder.decode(piece, { stream: true }))));
  }

  end(): string {
    return this.#checked.write(Buffer.from(this.#decoded(() => this.#decoder.decode())));
  }

  #decoded(decode: () => string): string {
    try {
      return decode();
    } catch {
      throw new BrokenText(failure("SCHEMA", `the file is not text in ${this.#charset}`));
    }
  }
}
