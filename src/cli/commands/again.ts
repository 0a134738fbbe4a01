/** `pawf execution retry | rerun`: the work once more. Both first say what they are about to run. */
import { randomUUID } from "node:crypto";
import { type Execution, ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import type { Call, Command, Option } from "../command.ts";
import { exit } from "../exit-codes.ts";
import { readInput } from "../input-values.ts";
import { printChanged } from "./control.ts";

const id = "exe_01M851KAV9FWTBZ3N43SZ12HKB";
const options: Readonly<Record<string, Option>> = {
  revision: { kind: "count", about: "with this revision [the same]" },
  input: { kind: "texts", short: "i", value: "NAME=VALUE", about: "another input, as for run; it replaces the whole [the same]" },
  reason: { kind: "text", value: "WHY", about: "kept in the ledger and the audit log" },
  "dry-run": { kind: "flag", about: "check everything, change nothing" },
};

export const againCommands: readonly Command[] = [
  {
    words: "execution retry",
    operands: ["EXECUTION"],
    about: "go on from the step that failed; results before it are kept",
    options: { step: { kind: "texts", value: "PATH", about: "run this step again [what failed]" }, ...options },
    examples: [`pawf execution retry ${id} --reason 'the bank is back'`],
    async run(call) {
      const steps = call.args.texts("step");
      const before = await read(call);
      if (!before) return exit.failed;
      announce(call, before, steps.length > 0 ? steps.join(", ") : before.failedStep || "what failed");
      const answer = await call.connection.workflows.retryExecution({ ...(await request(call)), steps: [...steps] }, { signal: call.signal });
      return printChanged(call, answer.execution);
    },
  },
  {
    words: "execution rerun",
    operands: ["EXECUTION"],
    about: "a new execution with the same input, from the beginning or from a step",
    options: {
      "from-step": { kind: "text", value: "PATH", about: "copy the results before this step of the top level [from the beginning]" },
      "execution-key": { kind: "text", value: "NAME", about: "name of the new one" },
      ...options,
    },
    examples: [`pawf execution rerun ${id} --from-step charge`],
    async run(call) {
      const { args, connection, signal } = call;
      const before = await read(call);
      if (!before) return exit.failed;
      announce(call, before, args.text("from-step") || "the beginning");
      const answer = await connection.workflows.rerunExecution(
        { ...(await request(call)), fromStep: args.text("from-step"), executionKey: args.text("execution-key") },
        { signal },
      );
      return printChanged(call, answer.execution);
    },
  },
];

async function read({ args, connection, signal }: Call): Promise<Execution | undefined> {
  return (await connection.workflows.getExecution({ executionId: args.text("EXECUTION"), view: View.FULL }, { signal })).execution;
}

const inputCharactersMax = 200;

function announce({ args, screen }: Call, execution: Execution, from: string): void {
  const input = args.has("input") ? "given anew" : inputText(execution);
  const revision = args.count("revision") || execution.revision;
  screen.say(`${execution.workflowName} revision ${revision}, ${ExecutionState[execution.state]}; from ${from}; input ${input}`);
}

function inputText({ input = {}, omittedFields }: Execution): string {
  if (omittedFields.includes("input")) return "too large to show";
  const text = JSON.stringify(input);
  return text.length > inputCharactersMax ? `${text.slice(0, inputCharactersMax)}…` : text;
}

async function request({ args, input }: Call) {
  const given = await readInput(args.texts("input"), input);
  return {
    executionId: args.text("EXECUTION"),
    revision: args.count("revision"),
    reason: args.text("reason"),
    validateOnly: args.flag("dry-run"),
    requestId: randomUUID(),
    ...(given ? { input: given } : {}),
  };
}
