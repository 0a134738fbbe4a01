/** How a call waits for an execution: no longer than the caller wants, the replica serves, and the key that it came with opens anything. */
import type { HandlerContext } from "@connectrpc/connect";
import { waitForEnd } from "../engine/watch.ts";
import { callerOf, drainSignalOf, keyUseOf } from "./interceptors/call.ts";
import type { RpcParts } from "./parts.ts";

/** Whether it ended in that time. @throws AppError KEY_REVOKED and the other reasons for which a new call would be refused by now */
export async function waitInCall(parts: RpcParts, context: HandlerContext, executionId: string, timeoutMs: number): Promise<boolean> {
  const key = parts.holdKey(keyUseOf(context));
  try {
    const ended = await waitForEnd(parts.progress, callerOf(context), executionId, timeoutMs, [context.signal, drainSignalOf(context), key.signal]);
    key.signal.throwIfAborted();
    return ended;
  } finally {
    key.release();
  }
}
