/**
 * Events from outside: sent to one execution, or published under a key for all that wait for it. Stored first, durable when it is
 * answered, told then: those that wait are told at once, those that will wait find it for as long as it lives.
 */
import type { Caller } from "../base/caller.ts";
import { AppError, violationsError } from "../base/errors.ts";
import { type IdSource, idFrom } from "../base/ids.ts";
import { findJsonFault, type Json, jsonBytes } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import type { SignalRepository, StoredAs } from "../store/signal-repository.ts";
import type { Deliveries } from "./deliveries.ts";

export interface SignalRequest {
  readonly eventType: string;
  readonly data: Json;
  /** Empty: every call is an event of its own. */
  readonly dedupId: string;
  /** Unset: a day. */
  readonly ttlMs: number | undefined;
  /** Checks everything and stores nothing. */
  readonly validateOnly: boolean;
}

export interface Sent {
  readonly signalId: string;
  /** The dedup id was known: this is the first one. */
  readonly isDuplicate: boolean;
  /** Executions that waited for it. */
  readonly matched: number;
}

export interface SignalsOptions {
  readonly repository: SignalRepository;
  readonly deliveries: Deliveries;
  readonly ids: IdSource;
}

export class Signals {
  readonly #options: SignalsOptions;

  constructor(options: SignalsOptions) {
    this.#options = options;
  }

  /** To one execution, which was open a moment ago; `endState` names the state in which it has ended by now. @throws AppError EXECUTION_TERMINAL, SIGNAL_LIMIT, VALIDATION_FAILED, PAYLOAD_TOO_LARGE */
  async send(caller: Caller, executionId: string, endState: () => Promise<string | undefined>, request: SignalRequest): Promise<Sent> {
    const stored = await this.#store(caller, { executionId, correlationKey: undefined }, request);
    if (stored) return stored;
    const state = await endState();
    if (state !== undefined) {
      throw new AppError("EXECUTION_TERMINAL", `the execution has ended: ${state}; nothing in it waits any more`, { metadata: { executionId, state } });
    }
    throw new AppError("SIGNAL_LIMIT", `too many events are stored for this execution (at most ${limits.signalsStoredMax} that it has not taken) or tenant`, {
      metadata: { executionId, limit: String(limits.signalsStoredMax) },
      retryAfterMs: 60_000,
    });
  }

  /** To all executions of the tenant that wait for it, or will. @throws AppError SIGNAL_LIMIT, VALIDATION_FAILED, PAYLOAD_TOO_LARGE */
  async publish(caller: Caller, correlationKey: string, request: SignalRequest): Promise<Sent> {
    const stored = await this.#store(caller, { executionId: undefined, correlationKey }, request);
    if (stored) return stored;
    throw new AppError(
      "SIGNAL_LIMIT",
      `too many events are stored: at most ${limits.signalsStoredMax} under one type and key, and of a tenant ${limits.signalsPerTenantMax} or what its quota says; use a shorter ttl`,
      { metadata: { eventType: request.eventType, limit: String(limits.signalsStoredMax) }, retryAfterMs: 60_000 },
    );
  }

  async #store(
    { tenantId, actor, change }: Caller,
    to: { readonly executionId: string | undefined; readonly correlationKey: string | undefined },
    { eventType, data, dedupId, ttlMs, validateOnly }: SignalRequest,
  ): Promise<Sent | undefined> {
    checkData(data);
    const { repository, deliveries, ids } = this.#options;
    if (validateOnly) return { signalId: "", isDuplicate: false, matched: 0 };
    const signalId = change?.key === undefined ? ids.next("signal") : idFrom("signal", `${tenantId}\n${change.key}`);
    const ttl = Math.min(ttlMs ?? limits.signalTtlMsDefault, limits.signalTtlMsMax);
    // What one execution is told is a decision about it; what is published is traffic between services.
    const sentBy = change && to.executionId !== undefined ? { actor, method: change.method } : undefined;
    const signal = { signalId, ...to, eventType, data, dedupId: dedupId || undefined, ttlMs: ttl, isRepeatable: change?.key !== undefined, sentBy };
    const stored: StoredAs = await repository.store(tenantId, signal);
    if (stored.kind === "refused") return undefined;
    if (stored.kind === "duplicate" && stored.signalId !== signalId) {
      // Whoever stored it may not have heard that it did, and then told nobody.
      const told = await deliveries.tellSignal(tenantId, stored.signalId);
      return { signalId: stored.signalId, isDuplicate: true, matched: Math.max(told, stored.matched) };
    }
    const matched = await deliveries.tellSignal(tenantId, signalId);
    if (stored.kind === "stored") return { signalId, isDuplicate: false, matched };
    // Stored by an earlier call with the same request id, which may have died before it told anybody.
    change?.noteReplay();
    return { signalId, isDuplicate: false, matched: Math.max(matched, stored.matched) };
  }
}

function checkData(data: Json): void {
  const fault = findJsonFault(data);
  if (fault) throw violationsError([{ field: fault.path === "" ? "data" : `data.${fault.path}`, reason: "VALIDATION_FAILED", description: fault.problem }]);
  if (jsonBytes(data) > limits.signalDataBytesMax)
    throw new AppError("PAYLOAD_TOO_LARGE", `data is larger than ${limits.signalDataBytesMax} bytes; upload a file and send its id`);
}
