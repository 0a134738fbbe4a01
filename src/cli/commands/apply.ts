/** `pawf workflow apply -f`: makes a workflow what a file says; doing it twice changes nothing. */
import { randomUUID } from "node:crypto";
import { clone, equals, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { parse } from "yaml";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import { type Workflow, WorkflowSchema } from "#gen/pyairtable/workflow/v1/workflow_pb.js";
import { messageOf } from "../../base/errors.ts";
import { isJsonObject } from "../../base/json.ts";
import type { Call, Command } from "../command.ts";
import { exit } from "../exit-codes.ts";
import { readSource } from "../input-values.ts";
import { plainJson, printJson } from "../show.ts";
import { UsageError } from "../usage-error.ts";

export const applyCommand: Command = {
  words: "workflow apply",
  operands: [],
  about: "create or update the workflow of a file, or say that it is unchanged",
  options: {
    file: { kind: "text", short: "f", value: "FILE", about: "the workflow as JSON or YAML: {name, definition, …}, bare or as {workflow: …}; - is stdin" },
    note: { kind: "text", value: "TEXT", about: "what the revision changes" },
    draft: { kind: "flag", about: "make the revision, do not activate it" },
    "dry-run": { kind: "flag", about: "check everything, change nothing" },
  },
  examples: ["pawf workflow apply -f hello.json --note 'politer'"],
  async run(call) {
    const { args, format, screen } = call;
    if (!args.has("file")) throw new UsageError("-f FILE is missing", args.command);
    const file = args.text("file");
    const wanted = parseWorkflow(await readSource(file === "-" ? "-" : `@${file}`, call.input), file);
    const { what, workflow } = await apply(call, wanted);
    if (format === "table") screen.line(`${workflow.name}  ${what}  revision ${workflow.latestRevision}`);
    else printJson({ result: what, workflow: plainJson(WorkflowSchema, workflow) }, format, screen);
    if (args.flag("dry-run")) screen.say("a dry run: nothing was changed");
    return exit.ok;
  },
};

/** JSON is YAML too. Throws UsageError naming what does not fit. */
export function parseWorkflow(text: string, file: string): Workflow {
  try {
    const read = parse(text, { maxAliasCount: 0 }) as JsonValue;
    const json = isJsonObject(read) && isJsonObject(read["workflow"]) ? read["workflow"] : read;
    const workflow = fromJson(WorkflowSchema, json);
    if (workflow.name === "") throw new Error("name is missing");
    return workflow;
  } catch (error) {
    throw new UsageError(`${file} holds no workflow: ${messageOf(error)}`, "workflow apply");
  }
}

async function apply(call: Call, wanted: Workflow): Promise<{ readonly what: string; readonly workflow: Workflow }> {
  const { args, connection, signal } = call;
  const validateOnly = args.flag("dry-run");
  const shared = { draftOnly: args.flag("draft"), revisionNote: args.text("note") };
  const current = await existing(call, wanted.name);
  if (!current) {
    const { workflow } = await connection.workflows.createWorkflow({ ...shared, workflow: wanted, validateOnly, requestId: randomUUID() }, { signal });
    return { what: "created", workflow: workflow ?? wanted };
  }
  // What the service would make of it tells whether there is anything to do: nothing is written, or audited, when there is not.
  const request = { ...shared, workflow: current.id, changes: wanted, etag: current.etag };
  const { workflow: planned } = await connection.workflows.updateWorkflow({ ...request, validateOnly: true }, { signal });
  if (planned && isSame(planned, current)) return { what: "unchanged", workflow: current };
  if (validateOnly) return { what: "updated", workflow: planned ?? wanted };
  const { workflow } = await connection.workflows.updateWorkflow({ ...request, requestId: randomUUID() }, { signal });
  return { what: "updated", workflow: workflow ?? wanted };
}

async function existing({ connection, signal }: Call, name: string): Promise<Workflow | undefined> {
  try {
    return (await connection.workflows.getWorkflow({ workflow: name, view: View.FULL }, { signal })).workflow;
  } catch (error) {
    if (ConnectError.from(error).code === Code.NotFound) return undefined;
    throw error;
  }
}

function isSame(planned: Workflow, current: Workflow): boolean {
  const [a, b] = [clone(WorkflowSchema, planned), clone(WorkflowSchema, current)];
  for (const workflow of [a, b]) {
    workflow.etag = "";
    delete workflow.updateTime;
  }
  return equals(WorkflowSchema, a, b);
}
