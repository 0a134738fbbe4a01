/** Starts PostgreSQL again when it was killed under its users, so that they have only a short outage to live through. */
import { existsSync } from "node:fs";
import type { Clock } from "../../base/clock.ts";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { clusterOf } from "./data-folder.ts";
import { withFolderLock } from "./folder-lock.ts";
import { findPostmaster } from "./postmaster.ts";

export interface KeepRunningOptions {
  readonly dataDir: string;
  /** Called under the folder's lock. */
  readonly launch: () => Promise<unknown>;
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly log: Log;
}

/** One look costs three small reads. */
const lookMs = 500;
const retryMsMax = 30_000;

/**
 * Looks twice a second until the signal; resolves then. Every user of the folder looks, and the lock lets one of them
 * act. A start that fails is tried again after a pause that doubles up to 30 seconds: a full disk may be freed.
 */
export async function keepRunning({ dataDir, launch, signal, clock, log }: KeepRunningOptions): Promise<void> {
  let pauseMs = lookMs;
  while (await pause(clock, pauseMs, signal)) {
    if (findPostmaster(clusterOf(dataDir)) || !existsSync(dataDir)) continue;
    try {
      await withFolderLock(dataDir, clock, async () => {
        if (signal.aborted || findPostmaster(clusterOf(dataDir))) return;
        log.error({ dataDir }, "the embedded PostgreSQL ended unexpectedly and is started again");
        await launch();
      });
      pauseMs = lookMs;
    } catch (error) {
      log.error({ dataDir, error: messageOf(error) }, "the embedded PostgreSQL could not be started again");
      pauseMs = Math.min(pauseMs * 2, retryMsMax);
    }
  }
}

async function pause(clock: Clock, durationMs: number, signal: AbortSignal): Promise<boolean> {
  try {
    await clock.sleep(durationMs, signal);
  } catch {
    // The signal: `stop` was called.
  }
  return !signal.aborted;
}
