/**
 * Finished files in S3-compatible storage. The address is the operator's, from the configuration: no tenant names it, so it is
 * not subject to the egress guard. Requests are signed with Signature Version 4; bytes are streamed both ways.
 */
import { Readable } from "node:stream";
import { AwsClient } from "aws4fetch";
import { request } from "undici";
import { AppError } from "../base/errors.ts";

export interface ObjectStorage {
  /** Whole and readable when it resolves; an object of that name is replaced. @throws AppError STORAGE_UNAVAILABLE */
  put(name: string, sizeBytes: number, bytes: AsyncIterable<Buffer>): Promise<void>;
  /** Bytes from `start` to before `end`. @throws AppError STORAGE_UNAVAILABLE */
  get(name: string, start: number, end: number): AsyncIterable<Buffer>;
  /** Nothing there is as good as removed. @throws AppError STORAGE_UNAVAILABLE */
  remove(name: string): Promise<void>;
}

export interface S3Options {
  /** `https://host[:port]`; buckets are named in the path, which every implementation understands. */
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** Silence after which a request is given up; a large object may take longer in all. */
const silenceMs = 30_000;

export function createS3Storage({ endpoint, bucket, region, accessKeyId, secretAccessKey }: S3Options): ObjectStorage {
  const signer = new AwsClient({ accessKeyId, secretAccessKey, region, service: "s3" });

  async function send(method: "PUT" | "GET" | "DELETE", name: string, headers: Record<string, string>, body?: Readable) {
    const url = `${endpoint.replace(/\/$/, "")}/${bucket}/${name}`;
    try {
      const signed = await signer.sign(url, { method, headers });
      return await request(url, {
        method,
        headers: Object.fromEntries(signed.headers),
        body: body ?? null,
        headersTimeout: silenceMs,
        bodyTimeout: silenceMs,
      });
    } catch (cause) {
      throw unavailable("cannot be reached", cause);
    }
  }

  return {
    async put(name, sizeBytes, bytes) {
      const answer = await send("PUT", name, { "content-length": String(sizeBytes) }, Readable.from(bytes));
      await answer.body.dump();
      if (answer.statusCode !== 200) throw unavailable(`answered ${answer.statusCode} to a write`);
    },

    async *get(name, start, end) {
      const answer = await send("GET", name, { range: `bytes=${start}-${end - 1}` });
      if (answer.statusCode !== 206 && !(answer.statusCode === 200 && start === 0)) {
        await answer.body.dump();
        throw unavailable(`answered ${answer.statusCode} to a read`);
      }
      let left = end - start;
      try {
        for await (const piece of answer.body) {
          const bytes = (piece as Buffer).subarray(0, left);
          left -= bytes.length;
          yield bytes;
        }
      } catch (cause) {
        throw unavailable("broke off a read", cause);
      }
      if (left > 0) throw unavailable("ended a read early");
    },

    async remove(name) {
      const answer = await send("DELETE", name, {});
      await answer.body.dump();
      if (answer.statusCode >= 300 && answer.statusCode !== 404) throw unavailable(`answered ${answer.statusCode} to a removal`);
    },
  };
}

function unavailable(what: string, cause?: unknown): AppError {
  return new AppError("STORAGE_UNAVAILABLE", `the object storage ${what}; try again`, { retryAfterMs: 1_000, cause });
}
