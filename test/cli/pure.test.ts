/** What the command computes without a service: argv, text, exit codes. */
import { create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { WorkflowDefinitionSchema } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import { ExecutionEventSchema } from "#gen/pyairtable/workflow/v1/event_pb.js";
import { ExecutionSchema, ExecutionSnapshotSchema, ExecutionState, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { startRequest } from "../../src/cli/commands/run.ts";
import { commands } from "../../src/cli/commands.ts";
import { eventLine } from "../../src/cli/event-line.ts";
import { parsePairs } from "../../src/cli/input-values.ts";
import { findCommand, parseArguments } from "../../src/cli/parse-arguments.ts";
import { refusalOf } from "../../src/cli/refusal.ts";
import { applyEvent, applySnapshot, newRunModel } from "../../src/cli/run-model.ts";
import { runTree } from "../../src/cli/run-tree.ts";
import { createScreen } from "../../src/cli/screen.ts";
import { findMethod } from "../../src/cli/services.ts";
import { parseSpan, spanText } from "../../src/cli/spans.ts";
import { outlineOf } from "../../src/cli/step-outline.ts";
import { tableLines } from "../../src/cli/table.ts";
import { UsageError } from "../../src/cli/usage-error.ts";
import { clipped, columnsOf, visibleJson, visibleText } from "../../src/cli/visible-text.ts";

const parse = (line: string) => {
  const argv = line.split(" ").filter(Boolean);
  const command = findCommand(argv, commands);
  if (!command) throw new Error(`no command in ${line}`);
  return parseArguments(argv, command);
};

describe("the command line", () => {
  it.each(["execution retry exe_1", "execution rerun exe_1"])("`pawf %s` says of an input that is too large to come along that it is", async (line) => {
    const execution = create(ExecutionSchema, { id: "exe_1", workflowName: "big", omittedFields: ["input"] });
    const answer = async () => ({ execution });
    const workflows = { getExecution: answer, retryExecution: answer, rerunExecution: answer };
    const written: string[] = [];
    const screen = createScreen({ write: () => true }, { write: (text: string) => written.push(text) });
    await findCommand(line.split(" "), commands)?.run({ args: parse(line), format: "table", screen, connection: { workflows }, signal: undefined } as never);
    expect(written[0]).toMatch(/; input too large to show\n$/);
  });

  it("finds the command behind options that every command has, and reads its operands", () => {
    const args = parse("-o json --url http://h:1 execution why exe_1");
    expect([args.command, args.text("EXECUTION"), args.text("output")]).toEqual(["execution why", "exe_1", "json"]);
  });

  it.each([
    ["run hello --wacth", "Unknown option '--wacth'"],
    ["execution list --watch", "Unknown option '--watch'"],
    ["execution list --limit many", "--limit takes a whole number"],
    ["run hello --start-delay soon", "--start-delay takes a time"],
    ["run hello --revision 1 --revision 2", "--revision can be given once"],
    ["run", "WORKFLOW is missing"],
    ["run hello world", '"world" is too much'],
    ["watch exe_1 --url=", "--url is empty"],
  ])("refuses `pawf %s`", (line, message) => {
    expect(() => parse(line)).toThrow(UsageError);
    expect(() => parse(line)).toThrow(message);
  });

  it("makes a start of flags and input", () => {
    const args = parse("run hello --label team=blue --priority 7 --start-delay 1m30s --on-conflict RETURN --execution-key k");
    expect(startRequest(args, parsePairs(["a=1"]), "id")).toMatchObject({
      workflow: "hello",
      input: { a: 1 },
      labels: { team: "blue" },
      priority: 7,
      startDelay: { seconds: 90n },
      conflictPolicy: 2,
      executionKey: "k",
      requestId: "id",
    });
  });

  it("reads values as JSON where they are, else as text, and refuses names that come twice", () => {
    expect(parsePairs(["n=42", "t=Ada", 'q="42"', 'o={"a":[1]}', "e=", "x=a=b"])).toEqual({ n: 42, t: "Ada", q: "42", o: { a: [1] }, e: "", x: "a=b" });
    expect(Object.keys(parsePairs(["__proto__=1"]))).toEqual(["__proto__"]);
    expect(() => parsePairs(["a=1", "a=2"])).toThrow('gives "a" twice');
    expect(() => parsePairs(["alone"])).toThrow(UsageError);
  });

  it("names what there is when a method does not exist", () => {
    expect(findMethod("workflowservice/getexecution").name).toBe("GetExecution");
    expect(findMethod("pyairtable.workflow.v1.WorkflowService/GetExecution").name).toBe("GetExecution");
    expect(() => findMethod("WorkflowService/Fly")).toThrow("ListWorkflows");
    expect(() => findMethod("Nobody/Fly")).toThrow("WorkflowService");
  });

  it("reads and writes spans", () => {
    expect([parseSpan("1h30m")?.seconds, parseSpan("500ms")?.nanos, parseSpan("2"), parseSpan("400d")]).toEqual([5400n, 500_000_000, undefined, undefined]);
    expect([0.2, 8.14, 412, 2_410, 185_000, 7_800_000, 274_000_000].map(spanText)).toEqual([
      "<1 ms",
      "8.1 ms",
      "412 ms",
      "2.4 s",
      "3 min 5 s",
      "2 h 10 min",
      "3 d 4 h",
    ]);
  });
});

describe("text of other people", () => {
  it("cannot steer a terminal, in any way out", () => {
    const evil = "a\u001b[2Jb\u0007\u009b\r\nc\u202ed\u2066\u0000";
    const written: string[] = [];
    const out = { write: (text: string) => written.push(text), isTTY: true, columns: 200, rows: 50 };
    const screen = createScreen(out, out);
    screen.line(evil);
    screen.say(evil);
    screen.json(JSON.stringify({ evil }));
    screen.redraw([evil]);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: it is about control characters.
    expect(written.join("").replaceAll("\n", "")).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/);
    expect(visibleText("\u001b[31m")).toBe("\\u001b[31m");
    expect(JSON.parse(visibleJson(JSON.stringify({ evil }, undefined, 2)))).toEqual({ evil });
  });

  it("keeps to the width of the terminal, wide letters counted twice", () => {
    expect([columnsOf("abc"), columnsOf("日本"), columnsOf("e\u0301")]).toEqual([3, 4, 1]);
    expect(clipped("日本語", 5)).toBe("日本…");
    expect(
      tableLines(
        [{ id: "日本", n: { m: "X_Y" } }, { id: "abc" }],
        [
          { head: "id", path: "id" },
          { head: "m", path: "n.m", prefix: "X_" },
        ],
      ),
    ).toEqual(["ID    M", "日本  Y", "abc"]);
  });
});

describe("a refusal", () => {
  const refused = (code: Code, ...details: ConnectError["details"]) => {
    const error = new ConnectError("say what", code);
    error.details = [...details];
    return refusalOf(error, "http://h:1");
  };

  it("has an exit code by its code", () => {
    const codes = [
      Code.NotFound,
      Code.Unauthenticated,
      Code.PermissionDenied,
      Code.Unavailable,
      Code.DeadlineExceeded,
      Code.InvalidArgument,
      Code.FailedPrecondition,
    ];
    expect(codes.map((code) => refused(code).exitCode)).toEqual([3, 4, 4, 5, 5, 2, 1]);
    expect(refusalOf(new UsageError("x"), "").exitCode).toBe(2);
  });

  it("tells code, reason, fields and what to do", () => {
    const packed = [
      anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason: "VALIDATION_FAILED" })),
      anyPack(
        BadRequestSchema,
        create(BadRequestSchema, { fieldViolations: [{ field: "input.order", description: "is required", reason: "VALIDATION_FAILED" }] }),
      ),
      anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay: { seconds: 2n } })),
    ].map(({ typeUrl, value }) => ({ type: typeUrl.replace("type.googleapis.com/", ""), value }));
    expect(refused(Code.InvalidArgument, ...packed).lines).toEqual([
      "pawf: INVALID_ARGUMENT VALIDATION_FAILED: say what",
      "  field input.order: is required",
      "  try again in 2.0 s",
    ]);
    expect(refused(Code.Unavailable).lines[1]).toContain("is the service running at http://h:1?");
  });
});

describe("a run", () => {
  const event = (sequence: number, stepPath: string, payload: object, attempt = 0) =>
    create(ExecutionEventSchema, {
      sequence: BigInt(sequence),
      stepPath,
      attempt,
      time: { seconds: 100n + BigInt(sequence), nanos: 0 },
      type: (payload as { case: string }).case.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      payload: payload as never,
    });
  const definition = create(WorkflowDefinitionSchema, {
    steps: [
      { name: "reserve", kind: { case: "httpRequest", value: {} } },
      { name: "charges", kind: { case: "forEach", value: { steps: [{ name: "charge", kind: { case: "httpRequest", value: {} } }] } } },
      { name: "done", kind: { case: "log", value: {} } },
    ],
  });
  const failure = { name: "HTTP.503", message: "busy" };

  it("is a tree: order and types of the definition, elements of loops that are not done, what comes next", () => {
    const model = newRunModel();
    applySnapshot(
      model,
      create(ExecutionSnapshotSchema, { execution: { id: "exe_1", workflowName: "orders", revision: 3, correlationId: "c", state: ExecutionState.RUNNING } }),
    );
    for (const told of [
      event(1, "", { case: "executionStarted", value: {} }),
      event(2, "reserve", { case: "stepStarted", value: {} }, 1),
      event(3, "reserve", { case: "stepSucceeded", value: {} }, 2),
      event(4, "charges", { case: "stepStarted", value: {} }, 1),
      event(5, "charges[0]/charge", { case: "stepSucceeded", value: {} }, 1),
      event(6, "charges[1]/charge", { case: "stepRetryScheduled", value: { failure, nextAttemptTime: { seconds: 108n, nanos: 0 } } }, 1),
    ]) {
      applyEvent(model, told);
    }
    expect(runTree(model, outlineOf(definition), 107_000)).toEqual([
      "orders   exe_1   RUNNING  6.0 s   revision 3   correlation c",
      "├ ✓ reserve       http_request    1.0 s   attempt 2",
      "├ ▶ charges       for_each        1/2 elements   3.0 s",
      "│ └ ↻ [1]/charge  http_request    attempt 2 in 1.0 s   HTTP.503",
      "└ • done          log",
    ]);
    expect(model.sequence).toBe(6n);
  });

  it("that is undone says so, and a later snapshot replaces what was known", () => {
    const model = newRunModel();
    applyEvent(model, event(1, "reserve", { case: "compensationStarted", value: {} }, 1));
    applyEvent(model, event(2, "reserve", { case: "compensationFailed", value: { failure } }, 1));
    expect(runTree(model, outlineOf(undefined), 0)[1]).toContain("✗ reserve");
    applySnapshot(model, create(ExecutionSnapshotSchema, { sequence: 9n, steps: [{ path: "reserve", state: StepState.COMPENSATED, type: "log" }] }));
    expect(runTree(model, outlineOf(undefined), 0)[1]).toMatch(/↩ reserve +log +undone/);
  });

  it("is a line for each event", () => {
    expect(eventLine(event(7, "charge", { case: "stepRetryScheduled", value: { failure, nextAttemptTime: { seconds: 108n, nanos: 0 } } }, 2))).toBe(
      "00:01:47.000Z     7  step_retry_scheduled  charge  attempt 2  HTTP.503: busy  next in 1000 ms",
    );
    expect(eventLine(event(8, "", { case: "executionEnded", value: { state: ExecutionState.COMPLETED, endReason: 1 } }))).toBe(
      "00:01:48.000Z     8  execution_ended  COMPLETED  SUCCESS",
    );
  });
});
