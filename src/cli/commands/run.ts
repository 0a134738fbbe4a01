/** `pawf run` and `pawf watch`: start an execution, follow one. */
import { randomUUID } from "node:crypto";
import type { JsonObject } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { type Execution, ExecutionSchema } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import { ConflictPolicy } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import type { Arguments } from "../arguments.ts";
import type { Call, Command } from "../command.ts";
import { exit } from "../exit-codes.ts";
import { parseLabels, readInput } from "../input-values.ts";
import { printJson, printOne } from "../show.ts";
import { UsageError } from "../usage-error.ts";
import { watchRun } from "../watch-run.ts";

export const runCommand: Command = {
  words: "run",
  operands: ["WORKFLOW"],
  about: "start an execution; prints its id",
  options: {
    input: { kind: "texts", short: "i", value: "NAME=VALUE", about: "input, values as JSON or text; or @FILE, or - for stdin, with the whole object" },
    "input-schema": { kind: "flag", about: "print what the workflow asks for, and start nothing" },
    watch: { kind: "flag", short: "w", about: "follow it to its end; exit code 1 unless it ends COMPLETED" },
    revision: { kind: "count", about: "run this revision [the active one]" },
    "execution-key": { kind: "text", value: "NAME", about: "name it; unique among open executions" },
    "on-conflict": { kind: "text", value: "WHAT", about: "when an open one has the name: fail, return or terminate it [fail]" },
    "correlation-id": { kind: "text", value: "ID", about: "id that travels with everything it causes" },
    label: { kind: "texts", value: "NAME=VALUE", about: "label, for filters" },
    priority: { kind: "count", about: "1 to 9, higher first [5]" },
    "start-delay": { kind: "span", about: "begin so much later" },
    "request-id": { kind: "text", value: "UUID", about: "names this call: repeating it starts nothing new [a new one]" },
    "dry-run": { kind: "flag", about: "check everything, start nothing" },
  },
  examples: ["pawf run hello -i name=Ada -i total=120 --watch"],
  run: startRun,
};

export const watchCommand: Command = {
  words: "watch",
  operands: ["EXECUTION"],
  about: "follow an execution to its end, over broken connections and restarts",
  options: { "after-sequence": { kind: "count", about: "only events after this number [0 = all]; not with the tree of a terminal" } },
  examples: ["pawf watch exe_01M851KAV9FWTBZ3N43SZ12HKB"],
  run(call) {
    if (call.args.has("after-sequence") && call.screen.isTerminal && call.format === "table") {
      throw new UsageError("--after-sequence is for lines: add -o jsonl", call.args.command);
    }
    return watchRun(call, call.args.text("EXECUTION"), BigInt(call.args.count("after-sequence")));
  },
};

const conflictPolicies = {
  fail: ConflictPolicy.FAIL,
  return: ConflictPolicy.RETURN_EXISTING,
  terminate: ConflictPolicy.TERMINATE_EXISTING,
};

/** The request, made of flags and input. */
export function startRequest(args: Arguments, input: JsonObject | undefined, requestId: string) {
  const startDelay = args.span("start-delay");
  const conflictPolicy = args.choice("on-conflict", conflictPolicies);
  return {
    workflow: args.text("WORKFLOW"),
    revision: args.count("revision"),
    executionKey: args.text("execution-key"),
    correlationId: args.text("correlation-id"),
    labels: parseLabels(args.texts("label"), "label"),
    priority: args.count("priority"),
    validateOnly: args.flag("dry-run"),
    requestId: args.text("request-id") || requestId,
    ...(input ? { input } : {}),
    ...(startDelay ? { startDelay } : {}),
    ...(conflictPolicy === undefined ? {} : { conflictPolicy }),
  };
}

async function startRun(call: Call): Promise<number> {
  const { args, connection, format, screen, signal } = call;
  if (args.flag("watch") && args.flag("dry-run")) throw new UsageError("--dry-run starts nothing that --watch could follow", "run");
  if (args.flag("input-schema")) return printInputSchema(call);
  const request = startRequest(args, await readInput(args.texts("input"), call.input), randomUUID());
  const { execution, existing } = await onceMore(() => connection.workflows.startExecution(request, { signal }));
  if (!execution) return exit.failed;
  if (existing) screen.say(`it was started before: ${execution.id}`);
  if (args.flag("watch")) {
    screen.say(`${execution.workflowName}  ${execution.id}`);
    return watchRun(call, execution.id, 0n);
  }
  return told(call, execution, format === "table" && !args.flag("dry-run"));
}

function told(call: Call, execution: Execution, isStarted: boolean): number {
  if (call.args.flag("dry-run") && call.format === "table") call.screen.say("it could be started; nothing was");
  else printOne(call, ExecutionSchema, execution, () => [execution.id]);
  if (isStarted) call.screen.say(`next: pawf watch ${execution.id}`);
  return exit.ok;
}

/** A start names itself, so it may be sent again when nobody answered. */
async function onceMore<T>(start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    if (ConnectError.from(error).code !== Code.Unavailable) throw error;
    return await start();
  }
}

async function printInputSchema({ args, connection, format, screen, signal }: Call): Promise<number> {
  const { workflow } = await connection.workflows.getWorkflow({ workflow: args.text("WORKFLOW"), view: View.FULL }, { signal });
  const schema = workflow?.definition?.inputSchema;
  if (schema) printJson(schema, format, screen);
  else screen.say("the workflow takes any input");
  return exit.ok;
}
