/** Steps that wait for something outside the execution: an event, a child, a worker. */
import type { JsonObject } from "../../src/base/json.ts";
import type { Random } from "./random.ts";
import type { DrawOutside } from "./random-definition.ts";

export const eventTypes = ["e0", "e1"] as const;
export const eventKeys = ["k0", "k1"] as const;
export const taskQueues = ["q0", "q1"] as const;

/** `children`: workflows that may be started, by id; `patient`: those that end only when somebody wants them to. */
export function outsideSteps(children: readonly string[], patient: readonly string[]): DrawOutside {
  return (name, random, policies) => {
    const kind = random.next();
    if (kind < 0.18) return waitStep(name, random);
    if (kind < 0.36) return taskStep(name, random, policies);
    if (kind < 0.54 && children.length > 0) return childStep(name, random, children, patient);
    return undefined;
  };
}

function waitStep(name: string, random: Random): JsonObject {
  const awaited = (): JsonObject => ({ event_type: random.pick(eventTypes), ...(random.chance(0.7) ? { correlation_key: random.pick(eventKeys) } : {}) });
  const any_of = Array.from({ length: random.int(1, 2) }, awaited);
  const onTimeout = random.chance(0.5) ? { on_timeout: "TIMEOUT_ACTION_CONTINUE" } : {};
  return { name, wait_for_event: { any_of, timeout: random.pick(["0.5s", "4s", "12s"]), ...onTimeout } };
}

function taskStep(name: string, random: Random, policies: (attemptsMax: number) => JsonObject): JsonObject {
  const task = (input: JsonObject | string): JsonObject => ({ worker_task: { task_type: "t", task_queue: random.pick(taskQueues), input } });
  const { timeouts, ...retry } = policies(random.int(1, 3)) as { timeouts: JsonObject } & JsonObject;
  const times = {
    ...timeouts,
    start_to_close: random.pick(["0.3s", "1s", "3s"]),
    ...(random.chance(0.3) ? { heartbeat: "0.25s" } : {}),
    ...(random.chance(0.3) ? { schedule_to_start: "0.4s" } : {}),
  };
  const undo = random.chance(0.5) ? task("{{ original.input.input }}") : { call: { body: "{{ original.input }}" } };
  const compensation = random.chance(0.75) ? { compensation: { step: { ...undo, timeouts: { start_to_close: "0.5s" } } } } : {};
  return { name, ...task({ of: name }), ...retry, timeouts: times, ...compensation, ...tolerance(random) };
}

function childStep(name: string, random: Random, children: readonly string[], patient: readonly string[]): JsonObject {
  const workflow = random.pick(children);
  const isPatient = patient.includes(workflow);
  const detached = random.chance(0.2) ? { detached: true } : {};
  // One that nobody would end lives as long as its parent.
  const policy = !isPatient && random.chance(0.3) ? { parent_close_policy: "PARENT_CLOSE_POLICY_ABANDON" } : {};
  const timeouts = random.chance(0.3) ? { timeouts: { start_to_close: random.pick(["1s", "6s"]) } } : {};
  const sub_workflow = { workflow, revision: 1, input: {}, ...detached, ...policy };
  return { name, sub_workflow, retry_policy: { maximum_attempts: random.int(1, 2), initial_interval: "0.1s" }, ...timeouts, ...tolerance(random) };
}

function tolerance(random: Random): JsonObject {
  return random.chance(0.2) ? { on_error: { action: "ON_ERROR_ACTION_CONTINUE" } } : {};
}
