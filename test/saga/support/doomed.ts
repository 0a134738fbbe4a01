/** Engines that die exactly before or after the commit of a named event, over a real database, and sagas started on them. */
import { randomUUID } from "node:crypto";
import type { JsonObject } from "@bufbuild/protobuf";
import { blockTypes } from "../../../src/domain/block-types.ts";
import type { Started } from "../../../src/engine/start-execution.ts";
import { type SagaStart, SagaStarter } from "../../../src/engine/start-saga.ts";
import { stepHandlers } from "../../../src/steps/registry.ts";
import type { AppendRequest } from "../../../src/store/journal.ts";
import { findStart } from "../../../src/store/sql/find-start.ts";
import { acme, type EngineChoices, type TestEngine, type World } from "../../engine/engine-fixture.ts";
import { ids } from "../../store/journal-fixture.ts";
import type { Sibling } from "./sibling.ts";
import { httpStep } from "./steps.ts";

/** The commit of the append that holds this event: "step_started hotel", "execution_ended". */
export interface Moment {
  readonly when: "before" | "after";
  readonly event: string;
}

export interface Doomed {
  readonly engine: TestEngine;
  /** Resolves when it is dead. */
  readonly died: Promise<void>;
}

export function holds({ events }: AppendRequest, event: string): boolean {
  return events.some(({ type, stepPath }) => (stepPath === "" ? type : `${type} ${stepPath}`) === event);
}

/** An engine that is killed at that moment: nothing is written, read or sent by it afterwards. */
export async function openDoomed(world: World, http: Sibling, { when, event }: Moment, more: EngineChoices = {}): Promise<Doomed> {
  const dead = Promise.withResolvers<void>();
  const die = async (request: AppendRequest): Promise<void> => {
    if (!holds(request, event)) return;
    await engine.kill();
    dead.resolve();
  };
  const engine: TestEngine = await world.openEngine("doomed", { ...more, http, ...(when === "before" ? { beforeAppend: die } : { afterAppend: die }) });
  return { engine, died: dead.promise };
}

const stepTypes = new Map([...stepHandlers, ...blockTypes.map((type) => [type.type, type] as const)]);

export function starterOf(world: World, { engine, leases }: TestEngine): SagaStarter {
  return new SagaStarter({
    engine,
    stepTypesOf: async () => stepTypes,
    ids,
    now: () => leases.now(),
    findStart: (...wish) => findStart(world.place.pool, ...wish),
  });
}

/** A flight, a hotel and a car, each of which is undone by a call. */
export function trip(sibling: Sibling, more: Partial<SagaStart> = {}, step: JsonObject = {}): SagaStart {
  const unset = { correlationId: undefined, executionKey: undefined, compensationPolicy: undefined, checkBack: undefined };
  return {
    ...unset,
    steps: ["flight", "hotel", "car"].map((name) => httpStep(sibling.url, name, step)) as SagaStart["steps"],
    prepared: false,
    autoComplete: true,
    ttlMs: 0,
    labels: {},
    requestId: randomUUID(),
    ...more,
  };
}

export function start(world: World, replica: TestEngine, saga: SagaStart): Promise<Started> {
  return starterOf(world, replica).start(acme, saga);
}

/** Ids of the sagas that are stored. */
export async function storedSagas({ place }: World): Promise<number> {
  const { rows } = await place.pool.query("select from workflow_executions");
  return rows.length;
}
