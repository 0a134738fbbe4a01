/** `pawf execution list | describe | why`: what runs, and why it does not. */
import { type Execution, ExecutionSchema, type ExecutionStep } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import { ExplainExecutionResponseSchema } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import type { Call, Command } from "../command.ts";
import { exit } from "../exit-codes.ts";
import { whyLines } from "../explain.ts";
import { applyExecution, newRunModel, stepModel } from "../run-model.ts";
import { runTree } from "../run-tree.ts";
import { listOptions, plainJson, printJson, printList, printOne } from "../show.ts";
import { factLines } from "../table.ts";
import { readOutline } from "../watch-run.ts";

const columns = [
  { head: "id", path: "id" },
  { head: "state", path: "state", prefix: "EXECUTION_STATE_" },
  { head: "workflow", path: "workflow_name" },
  { head: "rev", path: "revision" },
  { head: "created", path: "create_time" },
  { head: "failed step", path: "failed_step" },
  { head: "failure", path: "failure.name" },
];

export const executionCommands: readonly Command[] = [
  {
    words: "execution list",
    operands: [],
    about: "executions, newest first",
    options: {
      filter: { kind: "text", value: "FILTER", about: "for example 'state = FAILED AND workflow = \"hello\"'" },
      "order-by": { kind: "text", value: "FIELD", about: "create_time, start_time or end_time, with ' desc' [create_time desc]" },
      ...listOptions,
    },
    examples: ["pawf execution list --filter 'state = COMPLETED' --limit 5"],
    async run(call) {
      const { args, connection, signal } = call;
      await printList(call, { name: "executions", schema: ExecutionSchema, columns }, async (pageSize, pageToken) => {
        const page = await connection.workflows.listExecutions(
          { pageSize, pageToken, filter: args.text("filter"), orderBy: args.text("order-by") },
          { signal },
        );
        return { items: page.executions, nextPageToken: page.nextPageToken };
      });
      return exit.ok;
    },
  },
  {
    words: "execution describe",
    operands: ["EXECUTION"],
    about: "one execution with its steps, input and output",
    options: {},
    examples: ["pawf execution describe exe_01M851KAV9FWTBZ3N43SZ12HKB"],
    async run(call) {
      const { execution } = await call.connection.workflows.getExecution(
        { executionId: call.args.text("EXECUTION"), view: View.FULL },
        { signal: call.signal },
      );
      if (!execution) return exit.failed;
      if (call.format !== "table") printOne(call, ExecutionSchema, execution, () => []);
      else for (const line of await describeLines(call, execution)) call.screen.line(line);
      return exit.ok;
    },
  },
  {
    words: "execution why",
    operands: ["EXECUTION"],
    about: "why it failed or what it waits for, its attempts, and what to do",
    options: {},
    examples: ["pawf execution why exe_01M851KAV9FWTBZ3N43SZ12HKB"],
    async run(call) {
      const { connection, signal, args, format, screen } = call;
      const executionId = args.text("EXECUTION");
      const [explained, { execution }] = await Promise.all([
        connection.workflows.explainExecution({ executionId }, { signal }),
        connection.workflows.getExecution({ executionId, view: View.FULL }, { signal }),
      ]);
      if (!execution) return exit.failed;
      if (format !== "table") {
        printJson(plainJson(ExplainExecutionResponseSchema, explained), format, screen);
        return exit.ok;
      }
      const steps = await readSteps(call, executionId);
      for (const line of whyLines(explained, execution, steps, Date.now())) screen.line(line);
      return exit.ok;
    },
  },
];

/** At most this many steps are read to be shown. */
const stepsMax = 1_000;

async function readSteps({ connection, signal }: Call, executionId: string): Promise<readonly ExecutionStep[]> {
  const { steps } = await connection.workflows.listExecutionSteps({ executionId, pageSize: stepsMax, view: View.BASIC }, { signal });
  return steps;
}

async function describeLines(call: Call, execution: Execution): Promise<string[]> {
  const [steps, outline] = await Promise.all([readSteps(call, execution.id), readOutline(call, execution)]);
  const model = newRunModel();
  applyExecution(model, execution);
  for (const step of steps) model.steps.set(step.path, stepModel(step));
  const json = plainJson(ExecutionSchema, execution);
  const facts = ["execution_key", "input", "output", "variables", "labels", "end_reason", "failed_step", "standing_effects", "parent_execution_id", "rerun_of"];
  return [
    ...runTree(model, outline, Date.now()),
    "",
    ...factLines([
      ...facts.map((name) => [name, json[name]] as const),
      ["failure", execution.failure ? `${execution.failure.name}: ${execution.failure.message}` : ""],
      ["created", json["create_time"]],
      ["started", json["start_time"]],
      ["ended", json["end_time"]],
      ["next wake", json["next_wake_time"]],
      ["last event", json["last_sequence"]],
    ]),
  ];
}
