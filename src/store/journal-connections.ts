/**
 * The connections of a journal: they are kept for it alone, so that its plan guard touches nobody else, and what an error on
 * one of them means for what was being written.
 */

import type { Client, ClientConfig } from "pg";
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { parseId } from "../base/ids.ts";
import type { AppendOutcome, AppendRequest } from "./journal.ts";
import { planGuard } from "./plan-guard.ts";
import { closeSession, destroy, openSession } from "./session.ts";

/** How often a write or a question is tried on a new connection before its caller is told STORAGE_UNAVAILABLE. */
export const reconnectAttemptsMax = 100;
const reconnectPauseMs = 100;
/**
 * Wait for the answer to one write. Far above what a slow disk or a takeover under way takes, since a write that is given up has to be
 * ended at the server and looked for, and about what the other bounds of a replica that lost its database are (lease, connecting).
 */
export const answerMsDefault = 10_000;

export class JournalConnections {
  readonly #connection: ClientConfig;
  readonly #clock: Clock;
  readonly #idle: Client[] = [];

  constructor(connection: ClientConfig, clock: Clock) {
    this.#connection = connection;
    this.#clock = clock;
  }

  /** @throws AppError STORAGE_UNAVAILABLE when no connection can be made for ten seconds */
  async take(): Promise<Client> {
    const idle = this.#idle.pop();
    if (idle) return idle;
    for (let attempt = 1; ; attempt++) {
      try {
        const client = await openSession({ ...this.#connection, options: planGuard, application_name: "pawf-journal" });
        // A connection that breaks while idle emits an error; the next write finds out and connects again.
        client.on("error", () => {
          const index = this.#idle.indexOf(client);
          if (index >= 0) this.#idle.splice(index, 1);
        });
        return client;
      } catch (error) {
        if (attempt >= reconnectAttemptsMax) throw unavailable(error);
        await this.#clock.sleep(reconnectPauseMs);
      }
    }
  }

  giveBack(client: Client): void {
    this.#idle.push(client);
  }

  /** Of a connection that is broken or in doubt. */
  drop(client: Client): void {
    destroy(client);
  }

  async close(): Promise<void> {
    await Promise.all(this.#idle.splice(0).map((client) => closeSession(client)));
  }
}

/**
 * Classes of SQLSTATE that say nothing of what was to be written: broken connections, shutdowns, a full disk, transactions that lost to
 * others or were canceled, a standby after failover, a session that forgot or outlived a prepared statement. What they refused is written
 * again on a new connection.
 */
const passing = ["08", "57", "53", "58", "40", "25", "26", "0A000", "55P03"];

/** The SQLSTATE of an error that left the connection usable and would come again; undefined for all that may pass. */
export function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown }).code;
  if (typeof code !== "string" || !/^[0-9A-Z]{5}$/.test(code)) return undefined;
  return passing.some((start) => code.startsWith(start)) ? undefined : code;
}

/** Without the server's own words: they hold the value. */
export function refusal(state: string): AppendOutcome {
  if (state === "23505") return { kind: "conflict" };
  return { kind: "refused", message: `PostgreSQL refuses a value (${state})`, sqlState: state };
}

export function unavailable(cause: unknown): AppError {
  return new AppError("STORAGE_UNAVAILABLE", "the database cannot be reached; try again", { retryAfterMs: 1_000, cause });
}

/** Of a batch that was written; `started` has the uuids of the starts that were new. */
export function outcomeOf(request: AppendRequest, started: ReadonlySet<string>): AppendOutcome {
  const isNew = request.start === undefined || started.has(parseId("execution", request.executionId) ?? "");
  return isNew ? { kind: "committed" } : { kind: "exists" };
}
