/**
 * Reads a request body into memory, up to a limit and in bounded time. Unlike `for await`, giving up does not destroy
 * the request: the answer that says why still has to travel over the same connection.
 */
import { AppError } from "../../base/errors.ts";
import type { NodeRequest } from "./http-routes.ts";

export interface ReadBodyOptions {
  readonly bytesMax: number;
  readonly msMax: number;
  readonly signal?: AbortSignal | undefined;
  /** Called once `headBytes` are there; throws to refuse the rest unread. */
  readonly head?: { readonly bytes: number; check(head: Buffer): void };
}

/** The whole body. PAYLOAD_TOO_LARGE beyond `bytesMax`, DEADLINE_EXCEEDED after `msMax`, the reason of `signal` when it aborts. */
export function readBody(request: NodeRequest, options: ReadBodyOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    let headChecked = options.head === undefined;

    const timer = setTimeout(() => fail(new AppError("DEADLINE_EXCEEDED", `The request body did not arrive within ${options.msMax / 1000} s.`)), options.msMax);
    const { signal } = options;
    const onAbort = (): void => fail(signal?.reason);
    const onError = (): void => fail(new DOMException("The caller went away.", "AbortError"));

    function onData(chunk: Buffer): void {
      size += chunk.length;
      chunks.push(chunk);
      try {
        if (!headChecked && size >= (options.head?.bytes ?? 0)) {
          headChecked = true;
          options.head?.check(chunks.length === 1 ? chunk : Buffer.concat(chunks));
        }
        if (size > options.bytesMax) throw tooLarge(options.bytesMax);
      } catch (error) {
        fail(error);
      }
    }

    function onEnd(): void {
      settle();
      resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, size));
    }

    function fail(error: unknown): void {
      settle();
      chunks.length = 0;
      request.resume(); // the rest is thrown away as it comes, until the answer has left
      reject(error);
    }

    function settle(): void {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      request.off("data", onData).off("end", onEnd).off("close", onError);
    }

    request.on("error", () => undefined);
    if (signal?.aborted) return fail(signal.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    request.on("data", onData).on("end", onEnd).on("close", onError);
  });
}

export function tooLarge(bytesMax: number): AppError {
  return new AppError("PAYLOAD_TOO_LARGE", `The request is larger than ${bytesMax} bytes. Send less, or upload large values as files.`, {
    metadata: { bytesMax: String(bytesMax) },
  });
}
