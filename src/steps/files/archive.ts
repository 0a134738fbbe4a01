/**
 * ZIP archives by their central directory; nothing is written anywhere, names are only text. LIMIT.ENTRIES, LIMIT.RATIO and LIMIT.ARCHIVE
 * refuse bombs by what the directory says, and reading an entry refuses one that holds more than it says.
 */
import { Readable } from "node:stream";
import { type Entry, fromBufferPromise, fromRandomAccessReaderPromise, RandomAccessReader, type ZipFile } from "yauzl";
import type { Json } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import type { FileJobOutcome } from "./file-job.ts";

const entriesMax = 10_000;
const ratioMax = 100;
/** Below this an entry may have any ratio: a few kilobytes of zeros harm nobody. */
const ratioFromBytes = 64 * 1024;
const totalBytesMax = 256 * 1024 * 1024;
const nested = /\.(?:zip|jar|7z|rar|gz|tgz|bz2|xz|tar)$/i;

/** `{entries: [{name, size_bytes, compressed_bytes, is_directory, modified_time, is_encrypted}], entry_count, total_bytes}` */
export async function listEntries(bytes: Buffer): Promise<FileJobOutcome> {
  return listOpened(await openArchive(await fromBufferPromise(bytes, reading)));
}

/** As `listEntries`, of a large archive: its end holds the list. LIMIT.ARCHIVE if the list is longer than that. */
export async function listEntriesOfTail(tail: Buffer, sizeBytes: number): Promise<FileJobOutcome> {
  const reader = new TailReader(tail, sizeBytes);
  try {
    return listOpened(await openArchive(await fromRandomAccessReaderPromise(reader, sizeBytes, reading)));
  } catch (error) {
    if (reader.isTooShort) return fail(failure("LIMIT.ARCHIVE", `the list of the archive's entries is longer than ${tail.length} bytes`));
    throw error;
  }
}

const reading = { lazyEntries: true, validateEntrySizes: true, strictFileNames: false };

class TailReader extends RandomAccessReader {
  isTooShort = false;
  readonly #tail: Buffer;
  readonly #startsAt: number;

  constructor(tail: Buffer, sizeBytes: number) {
    super();
    this.#tail = tail;
    this.#startsAt = sizeBytes - tail.length;
  }

  override _readStreamForRange(start: number, end: number): Readable {
    if (start < this.#startsAt) this.isTooShort = true;
    return Readable.from([this.#tail.subarray(Math.max(0, start - this.#startsAt), Math.max(0, end - this.#startsAt))]);
  }
}

function listOpened(archive: Result<Archive, Failure>): FileJobOutcome {
  if (!archive.ok) return archive;
  const entries: Json[] = archive.value.entries.map((entry) => ({
    name: entry.fileName,
    size_bytes: entry.uncompressedSize,
    compressed_bytes: entry.compressedSize,
    is_directory: entry.fileName.endsWith("/"),
    modified_time: entry.getLastModDate().toISOString(),
    is_encrypted: entry.isEncrypted(),
  }));
  return ok({ kind: "facts", facts: { entries, entry_count: entries.length, total_bytes: archive.value.totalBytes } });
}

/** The entries for which `isWanted`, unpacked in memory. */
export async function readEntries(bytes: Buffer, isWanted: (name: string) => boolean): Promise<Result<Map<string, Buffer>, Failure>> {
  const archive = await openArchive(await fromBufferPromise(bytes, reading));
  if (!archive.ok) return archive;
  const contents = new Map<string, Buffer>();
  for (const entry of archive.value.entries) {
    if (!isWanted(entry.fileName)) continue;
    if (entry.isEncrypted()) return fail(failure("SCHEMA", `${entry.fileName.slice(0, 200)} is encrypted`));
    const pieces: Buffer[] = [];
    // yauzl itself ends the stream when an entry holds more than its directory says.
    for await (const piece of await archive.value.zip.openReadStreamPromise(entry)) pieces.push(piece as Buffer);
    contents.set(entry.fileName, Buffer.concat(pieces));
  }
  return ok(contents);
}

interface Archive {
  readonly zip: ZipFile;
  readonly entries: readonly Entry[];
  readonly totalBytes: number;
}

async function openArchive(zip: ZipFile): Promise<Result<Archive, Failure>> {
  if (zip.entryCount > entriesMax) return fail(failure("LIMIT.ENTRIES", `the archive has ${zip.entryCount} entries; the limit is ${entriesMax}`));
  const entries: Entry[] = [];
  let totalBytes = 0;
  for await (const entry of zip.eachEntry()) {
    entries.push(entry);
    totalBytes += entry.uncompressedSize;
    const problem =
      problemOf(entry) ?? (totalBytes > totalBytesMax ? failure("LIMIT.ARCHIVE", `the archive unpacks to more than ${totalBytesMax} bytes`) : undefined);
    if (problem) return fail(problem);
  }
  return ok({ zip, entries, totalBytes });
}

function problemOf({ fileName, uncompressedSize, compressedSize }: Entry): Failure | undefined {
  const name = fileName.slice(0, 200);
  if (uncompressedSize > ratioFromBytes && uncompressedSize > compressedSize * ratioMax)
    return failure("LIMIT.RATIO", `${name} is compressed to less than a hundredth of its ${uncompressedSize} bytes`);
  if (nested.test(fileName)) return failure("LIMIT.NESTING", `${name} is an archive inside of the archive`);
  return undefined;
}
