/** `pawf execution cancel | terminate | pause | resume | signal`: one decision about one execution. */
import { randomUUID } from "node:crypto";
import { fromJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { type Execution, ExecutionSchema, ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { CompensationChoice, SignalExecutionResponseSchema } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import type { Call, Command, Option } from "../command.ts";
import { exit } from "../exit-codes.ts";
import { readValue } from "../input-values.ts";
import { printOne } from "../show.ts";
import { UsageError } from "../usage-error.ts";

const id = "exe_01M851KAV9FWTBZ3N43SZ12HKB";
const reason: Option = { kind: "text", value: "WHY", about: "kept in the ledger and the audit log" };
const dryRun: Option = { kind: "flag", about: "check everything, change nothing" };

export const controlCommands: readonly Command[] = [
  {
    words: "execution cancel",
    operands: ["EXECUTION"],
    about: "stop it in an orderly way; effects are undone as the definition says",
    options: {
      reason,
      compensate: { kind: "text", value: "yes|no", about: "undo effects or leave them [as the definition says]" },
      "grace-period": { kind: "span", about: "how long running steps may take to stop by themselves [10s]" },
      "dry-run": dryRun,
    },
    examples: [`pawf execution cancel ${id} --reason 'ordered twice'`],
    async run(call) {
      const { args, connection, signal } = call;
      const gracePeriod = args.span("grace-period");
      const request = {
        ...base(call),
        compensate: args.choice("compensate", { yes: CompensationChoice.YES, no: CompensationChoice.NO }) ?? CompensationChoice.UNSPECIFIED,
        ...(gracePeriod ? { gracePeriod } : {}),
      };
      return printChanged(call, (await connection.workflows.cancelExecution(request, { signal })).execution);
    },
  },
  {
    words: "execution terminate",
    operands: ["EXECUTION"],
    about: "end it at once; nothing is undone, and what stands is listed",
    options: { reason: { ...reason, about: "required; kept in the ledger and the audit log" }, "dry-run": dryRun },
    examples: [`pawf execution terminate ${id} --reason 'runs in circles'`],
    async run(call) {
      if (!call.args.has("reason")) throw new UsageError("--reason is missing: nothing is undone, so somebody will want to know why", call.args.command);
      return printChanged(call, (await call.connection.workflows.terminateExecution(base(call), { signal: call.signal })).execution);
    },
  },
  {
    words: "execution pause",
    operands: ["EXECUTION"],
    about: "begin no further step; reports and timers are still taken in",
    options: { reason, "dry-run": dryRun },
    examples: [`pawf execution pause ${id} --reason 'the bank is down'`],
    run: async (call) => printChanged(call, (await call.connection.workflows.pauseExecution(base(call), { signal: call.signal })).execution),
  },
  {
    words: "execution resume",
    operands: ["EXECUTION"],
    about: "go on after a pause",
    options: { reason, "dry-run": dryRun },
    examples: [`pawf execution resume ${id}`],
    run: async (call) => printChanged(call, (await call.connection.workflows.resumeExecution(base(call), { signal: call.signal })).execution),
  },
  {
    words: "execution signal",
    operands: ["EXECUTION", "TYPE"],
    about: "send it an event; kept when it does not wait for one yet",
    options: {
      data: { kind: "text", short: "d", value: "JSON", about: "event.data in expressions: JSON, @FILE or - (stdin)" },
      "dedup-id": { kind: "text", value: "ID", about: "the same id twice is one event" },
      ttl: { kind: "span", about: "how long it is kept [24h]" },
      "dry-run": dryRun,
    },
    examples: [`pawf execution signal ${id} payment.settled -d '{"amount": 42}'`],
    run: sendSignal,
  },
];

function base({ args }: Call) {
  return { executionId: args.text("EXECUTION"), reason: args.text("reason"), validateOnly: args.flag("dry-run"), requestId: randomUUID() };
}

/** The execution after a change, or as it would be. */
export function printChanged(call: Call, execution: Execution | undefined): number {
  if (!execution) return exit.failed;
  const { id: executionId, state, paused, standingEffects } = execution;
  printOne(call, ExecutionSchema, execution, () => [`${executionId}  ${ExecutionState[state]}${paused ? "  paused" : ""}`]);
  if (standingEffects.length > 0) call.screen.say(`effects that stand: ${standingEffects.join(", ")}`);
  if (call.args.flag("dry-run")) call.screen.say("a dry run: nothing was changed");
  return exit.ok;
}

async function sendSignal(call: Call): Promise<number> {
  const { args, connection, screen, signal } = call;
  const ttl = args.span("ttl");
  const answer = await connection.workflows.signalExecution(
    {
      executionId: args.text("EXECUTION"),
      eventType: args.text("TYPE"),
      dedupId: args.text("dedup-id"),
      validateOnly: args.flag("dry-run"),
      requestId: randomUUID(),
      ...(args.has("data") ? { data: fromJson(ValueSchema, await readValue(args.text("data"), call.input)) } : {}),
      ...(ttl ? { ttl } : {}),
    },
    { signal },
  );
  printOne(call, SignalExecutionResponseSchema, answer, () => (answer.signalId ? [answer.signalId] : []));
  if (answer.duplicate) screen.say("it was sent before");
  return exit.ok;
}
