/** `pawf saga list | describe`: which effects stand, which are undone, who is stuck. */

import { type ExecutionStep, OperationState, SagaState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { type Saga, SagaSchema } from "#gen/pyairtable/workflow/v1/saga_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import type { Command } from "../command.ts";
import { failureNote } from "../event-line.ts";
import { exit } from "../exit-codes.ts";
import { listOptions, plainJson, printList, printOne } from "../show.ts";
import { factLines, tableLines } from "../table.ts";

const columns = [
  { head: "id", path: "id" },
  { head: "state", path: "state", prefix: "SAGA_STATE_" },
  { head: "why", path: "end_reason", prefix: "END_REASON_" },
  { head: "open", path: "open_steps" },
  { head: "created", path: "create_time" },
  { head: "failure", path: "failure.name" },
  { head: "at", path: "failure.step_path" },
];

export const sagaCommands: readonly Command[] = [
  {
    words: "saga list",
    operands: [],
    about: "sagas, newest first",
    options: {
      stuck: { kind: "flag", about: "only those that need an operator" },
      filter: { kind: "text", value: "FILTER", about: "for example 'participant = \"orders:8080\"'" },
      "order-by": { kind: "text", value: "FIELD", about: "create_time, end_time or expire_time, with ' desc' [create_time desc]" },
      ...listOptions,
    },
    examples: ["pawf saga list --stuck"],
    async run(call) {
      const { args, connection, signal } = call;
      const filter = bothOf(args.flag("stuck") ? "stuck = true" : "", args.text("filter"));
      await printList(call, { name: "sagas", schema: SagaSchema, columns }, async (pageSize, pageToken) => {
        const page = await connection.sagas.listSagas({ pageSize, pageToken, filter, orderBy: args.text("order-by") }, { signal });
        return { items: page.sagas, nextPageToken: page.nextPageToken };
      });
      return exit.ok;
    },
  },
  {
    words: "saga describe",
    operands: ["SAGA"],
    about: "one saga: its steps, what is done, what is undone, what stands",
    options: {},
    examples: ["pawf saga describe exe_01M851KAV9FWTBZ3N43SZ12HKB"],
    async run(call) {
      const { saga } = await call.connection.sagas.getSaga({ sagaId: call.args.text("SAGA"), view: View.FULL }, { signal: call.signal });
      if (!saga) return exit.failed;
      printOne(call, SagaSchema, saga, () => sagaLines(saga));
      return exit.ok;
    },
  },
];

/** Two filters of which both have to hold. */
export function bothOf(first: string, second: string): string {
  return first !== "" && second !== "" ? `${first} AND (${second})` : first || second;
}

export function sagaLines(saga: Saga): string[] {
  const json = plainJson(SagaSchema, saga);
  return [
    `${saga.id}  ${SagaState[saga.state]}${saga.paused ? "  paused" : ""}`,
    ...factLines([
      ["why", saga.endReason ? json["end_reason"] : ""],
      ["failure", failureNote(saga.failure)],
      ["correlation", saga.correlationId],
      ["created", json["create_time"]],
      ["ended", json["end_time"]],
      ["turns back", json["expire_time"]],
      ["effects that stand", saga.standingEffects],
    ]),
    ...(saga.steps.length > 0 ? ["", ...tableLines(saga.steps.map(stepRow), stepColumns)] : []),
  ];
}

const stepColumns = ["step", "type", "action", "undo", "confirmation", "failure"].map((name) => ({ head: name, path: name }));

function stepRow(step: ExecutionStep) {
  const shown = (state: OperationState): string => (state > OperationState.NONE ? (OperationState[state] ?? "") : "");
  return {
    step: step.path,
    type: step.type,
    action: shown(step.actionState),
    undo: shown(step.compensationState),
    confirmation: shown(step.confirmationState),
    failure: failureNote(step.compensationFailure ?? step.failure),
  };
}
