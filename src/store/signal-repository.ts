/** Events from outside as they are stored, and what is still to be told to executions. */
import { formatId, parseId } from "../base/ids.ts";
import type { Json } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import type { ControlCommand } from "../domain/control-command.ts";
import type { AwaitedEvent } from "../domain/events.ts";
import type { OutgoingCommand } from "../domain/outgoing-command.ts";
import type { Signal } from "../domain/waits.ts";
import type { Database } from "./database.ts";
import { guarded } from "./database-error.ts";
import { findSignals } from "./sql/find-signals.ts";
import { findTwin, insertSignal } from "./sql/insert-signal.ts";
import { markDelivered, matchSignal } from "./sql/match-signal.ts";
import { removeFromOutbox, takeOutbox, takeUndelivered } from "./sql/undelivered.ts";

export interface NewSignal {
  readonly signalId: string;
  /** Set for a signal to one execution. */
  readonly executionId: string | undefined;
  readonly eventType: string;
  /** Set for a published event. */
  readonly correlationKey: string | undefined;
  readonly data: Json;
  readonly dedupId: string | undefined;
  readonly ttlMs: number;
  /** Its id follows from its caller's request, so that a repeat is known by it. */
  readonly isRepeatable: boolean;
  /** Who sent it to the one execution, by which rpc, for the audit log; undefined: no line. */
  readonly sentBy: { readonly actor: string; readonly method: string } | undefined;
}

/** `refused`: the execution is over, or too much is stored. */
export type StoredAs =
  | { readonly kind: "stored" }
  | { readonly kind: "duplicate"; readonly signalId: string; readonly matched: number }
  | { readonly kind: "refused" };

export interface SignalWish {
  readonly tenantId: string;
  readonly executionId: string;
  readonly events: readonly AwaitedEvent[];
  readonly received: Iterable<string>;
  /** When the oldest wait began, milliseconds since the epoch. */
  readonly since: number;
  /** Last signal of the page before. */
  readonly after: Signal | undefined;
}

export interface SignalPage {
  readonly signals: readonly Signal[];
  /** Moment of the database's clock by which everything that was committed is in it, or behind its last signal. */
  readonly readAt: number;
}

export interface SentCommand extends OutgoingCommand {
  readonly tenantId: string;
  readonly senderId: string;
}

export interface SignalRepository {
  store(tenantId: string, signal: NewSignal): Promise<StoredAs>;
  /** Executions that wait for it: to be called after `store`. */
  match(tenantId: string, signalId: string): Promise<readonly string[]>;
  /** All of them were told. */
  delivered(tenantId: string, signalId: string): Promise<void>;
  /** A page of what the awaited events may be; fewer than `signalPageRows` means that there are no more. */
  find(wish: SignalWish): Promise<SignalPage>;
  /** Signals and commands that nobody is telling, each handed to one replica. */
  takeUndelivered(): Promise<readonly { readonly tenantId: string; readonly signalId: string }[]>;
  takeOutbox(): Promise<readonly SentCommand[]>;
  /** It was carried out, or never will be. */
  sent(command: SentCommand): Promise<void>;
}

/** Each may hold a mebibyte. */
export const signalPageRows = 16;
/** A teller that lives is left alone that long. */
const staleMs = 30_000;
const takenMax = 100;
/** How long a dedup id is known at least. */
const dedupMs = 86_400_000;

export function createSignalRepository({ pool }: Pick<Database, "pool">, replicaId: string): SignalRepository {
  return {
    store: (tenantId, signal) =>
      guarded(async () => {
        const executionUuid = signal.executionId === undefined ? undefined : parseId("execution", signal.executionId);
        const { signalId, executionId: _, ...wish } = signal;
        const bounds = { dedupMs, storedMax: limits.signalsStoredMax, tenantMax: limits.signalsPerTenantMax };
        const row = { ...wish, ...bounds, tenantId, uuid: uuidOf(signalId), executionUuid, replicaId };
        if (await insertSignal(pool, row)) return { kind: "stored" };
        const twin = signal.dedupId === undefined && !signal.isRepeatable ? undefined : await findTwin(pool, row);
        return twin ? { kind: "duplicate", signalId: formatId("signal", twin.id), matched: twin.matched } : { kind: "refused" };
      }),
    match: (tenantId, signalId) => guarded(async () => (await matchSignal(pool, tenantId, uuidOf(signalId))).map((uuid) => formatId("execution", uuid))),
    delivered: (tenantId, signalId) => guarded(() => markDelivered(pool, tenantId, uuidOf(signalId))),
    find: ({ tenantId, executionId, events, received, since, after }) =>
      guarded(async () => {
        const keyed = events.filter((event) => event.correlationKey !== undefined);
        const { rows, readAt } = await findSignals(pool, {
          tenantId,
          executionUuid: parseId("execution", executionId) ?? "",
          eventTypes: events.map(({ eventType }) => eventType),
          keyedTypes: keyed.map(({ eventType }) => eventType),
          keys: keyed.map(({ correlationKey }) => correlationKey as string),
          without: [...received].map(uuidOf),
          after: after && { createTime: new Date(after.receivedAt), id: uuidOf(after.signalId) },
          rowsMax: signalPageRows,
          since: new Date(since),
        });
        const signals = rows.map(({ id, eventType, correlationKey, data, dedupId, createTime, expireTime }) => ({
          ...{ signalId: formatId("signal", id), eventType, data, receivedAt: createTime.getTime(), expiresAt: expireTime.getTime() },
          ...{ correlationKey: correlationKey ?? undefined, dedupId: dedupId ?? undefined },
        }));
        return { signals, readAt: readAt.getTime() };
      }),
    takeUndelivered: () =>
      guarded(async () =>
        (await takeUndelivered(pool, replicaId, staleMs, takenMax)).map(({ tenantId, id }) => ({ tenantId, signalId: formatId("signal", id) })),
      ),
    takeOutbox: () =>
      guarded(async () =>
        (await takeOutbox(pool, replicaId, staleMs, takenMax)).map(({ tenantId, executionUuid, senderUuid, sequence, command }) => ({
          ...{ tenantId, sequence, executionId: formatId("execution", executionUuid), senderId: formatId("execution", senderUuid) },
          command: command as unknown as ControlCommand,
        })),
      ),
    sent: ({ tenantId, executionId, senderId, sequence }) =>
      guarded(() =>
        removeFromOutbox(pool, {
          ...{ tenantId, sequence },
          executionUuid: parseId("execution", executionId) ?? "",
          senderUuid: parseId("execution", senderId) ?? "",
        }),
      ),
  };
}

function uuidOf(signalId: string): string {
  return parseId("signal", signalId) ?? "";
}
