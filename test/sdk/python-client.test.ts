/** The Python client: the behaviours of the TypeScript one, in programs of their own. Skipped where Python cannot have gRPC. */
import { Code } from "@connectrpc/connect";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { createWorkflow, delayStep, httpStep, logStep } from "../service/support/definitions.ts";
import { useServer } from "../service/support/fixture.ts";
import { startAnother } from "../service/support/hosted-server.ts";
import { draining, refused, startFake } from "./fake-service.ts";
import { runPython, type Target } from "./python-program.ts";
import { startRelay } from "./relay.ts";
import { pythonClient, type Tool } from "./toolchains.ts";
import { event, repeatedLines, repeatingScripts, startWatched } from "./watch-scripts.ts";

const service = useServer();
let tool: Tool;
beforeAll(async () => {
  tool = await pythonClient();
}, 240_000);

/** Of the program of a test, or undefined and the test is skipped. */
function python(skip: (why: string) => void, target: Target, text: string, onLine?: (line: unknown) => void): Promise<unknown[]> | undefined {
  if ("missing" in tool) return void skip(tool.missing);
  return runPython(tool, target, text, onLine);
}

test("start, watch and result: every event once with the state after it, plain values in and out", async ({ skip }) => {
  const steps = [httpStep("call", `${service.ledger.url}/call`), delayStep("rest", "0.05s"), logStep("done")];
  const workflow = await createWorkflow(service.clients, steps, { outputs: { order: "{{trigger.data.order}}", at: "{{trigger.data.at}}" } });
  const program = `
run = wf.start("${workflow}", {"order": 42, "at": {"shelf": [1, None]}}, labels={"team": "a"})
told = list(run.watch())
say([one.sequence for one in told])
say([one.state for one in told if one.step == "rest"])
say([told[0].data["workflow_name"], told[0].data["input"], told[0].time.tzinfo is not None, told[-1].state])
say(run.result())
status = wf.run(run.id).status()
say([status.state, status.end_reason, status.workflow, status.input, status.labels, isinstance(status.create_time, datetime)])
say([step.path for step in wf.workflows.ListExecutionSteps({"execution_id": run.id}).steps])
`;
  const said = await python(skip, service.server, program);
  if (!said) return;
  const sequences = said[0] as number[];
  expect(sequences).toEqual(sequences.map((_, index) => index + 1));
  expect(said.slice(1)).toEqual([
    ["WAITING", "COMPLETED"],
    [workflow, { order: 42, at: { shelf: [1, null] } }, true, "COMPLETED"],
    { order: 42, at: { shelf: [1, null] } },
    ["COMPLETED", "SUCCESS", workflow, { order: 42, at: { shelf: [1, null] } }, { team: "a" }, true],
    ["call", "rest", "done"],
  ]);
});

test("failures, signals, cancels and refusals are as typed as in TypeScript", async ({ skip }) => {
  const fails = await createWorkflow(service.clients, [{ name: "charge", fail: { error: "card_declined", message: "no money" } }]);
  const waits = await createWorkflow(service.clients, [{ name: "paid", wait_for_event: { any_of: [{ event_type: "payment.settled" }] } }], {
    outputs: { amount: "{{steps.paid.result.data.amount}}" },
  });
  const program = `
failed = wf.start("${fails}")
error = refusal(failed.result)
say([is_reason(error, "EXECUTION_FAILED"), error.metadata["step"], error.metadata["error"], "no money" in error.message])
paid = wf.start("${waits}", execution_key="python-paid")
paid.signal("payment.settled", {"amount": 7}, ttl=60)
say(paid.result())
stopped = wf.start("${waits}")
for told in stopped.watch():
    if told.state == "WAITING":
        stopped.cancel("not wanted", grace=1)
say(stopped.ended().state)
missing = refusal(wf.run("exe_00000000000000000000000000").status)
say([missing.code, missing.reason, missing.request_id != ""])
say(refusal(lambda: list(wf.run("exe_00000000000000000000000000").watch())).reason)
wrong = refusal(lambda: wf.workflows.CreateWorkflow({"workflow": {"name": "Not A Name", "definition": {}}}))
say([wrong.reason, "workflow.name" in [one.field for one in wrong.field_violations]])
with WorkflowClient(api_key="pawf_00000000000000000000000000_nobody") as stranger:
    say(refusal(stranger.templates.ListTemplates).reason)
`;
  const said = await python(skip, service.server, program);
  if (!said) return;
  expect(said).toEqual([
    [true, "charge", "USER.card_declined", true],
    { amount: 7 },
    "CANCELED",
    ["NOT_FOUND", "EXECUTION_NOT_FOUND", true],
    "EXECUTION_NOT_FOUND",
    ["VALIDATION_FAILED", true],
    "KEY_INVALID",
  ]);
});

test("UNAVAILABLE and a lost connection are tried again under one request_id, with a fresh key and the contract's deadline; refusals are not", async ({
  skip,
}) => {
  const ids: string[] = [];
  const keys: (string | null)[] = [];
  const left: (number | undefined)[] = [];
  const reads: string[] = [];
  const fake = await startFake({
    startExecution: async ({ requestId }, { requestHeader, signal, timeoutMs }) => {
      ids.push(requestId);
      keys.push(requestHeader.get("authorization"));
      left.push(timeoutMs());
      if (ids.length === 1) throw draining();
      if (ids.length > 2) return { execution: { id: "exe_1" } };
      fake.cut();
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      return {};
    },
    getExecution: ({ executionId }) => {
      reads.push(executionId);
      throw executionId === "exe_away"
        ? draining(executionId === "exe_away" && reads.length > 4 ? 900_000 : 10)
        : refused(Code.ResourceExhausted, "RATE_LIMITED", 10);
    },
  });
  onTestFinished(() => fake.close());
  const program = `
count = 0
def key():
    global count
    count += 1
    return f"key-{count}"
with WorkflowClient(api_key=key) as own:
    say(own.start("order", {"order": 42}).id)
    say([refusal(own.run("exe_away").status).reason, count])
    say([refusal(own.run("exe_away").status).retry_after, count])
    say([refusal(own.run("exe_limited").status).reason, count])
say(refusal(own.run("exe_1").status).message)
`;
  const said = await python(skip, { url: fake.url, apiKey: "unused" }, program);
  if (!said) return;
  expect(ids).toHaveLength(3);
  expect(ids[0]).toMatch(/^[0-9a-f-]{36}$/);
  expect(new Set(ids).size).toBe(1);
  expect(keys).toEqual(["Bearer key-1", "Bearer key-2", "Bearer key-3"]);
  expect(left.every((ms = 0) => ms > 30_000 && ms <= 60_000)).toBe(true);
  expect(said).toEqual(["exe_1", ["SERVER_DRAINING", 7], [900, 8], ["RATE_LIMITED", 9], "this client is closed"]);
});

test("a watch drops repeats and older snapshots, ends on a refusal, and can be canceled from another thread", async ({ skip }) => {
  const watched = await startWatched(
    ...repeatingScripts,
    async function* () {
      yield event(1, "execution_started");
      throw refused(Code.Unauthenticated, "KEY_REVOKED");
    },
    async function* (_, signal) {
      yield event(1, "execution_started");
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    },
  );
  onTestFinished(() => watched.fake.close());
  const program = `
import threading
say([line(told) for told in wf.run("exe_1").watch()])
say(refusal(lambda: list(wf.run("exe_1").watch())).reason)
with wf.run("exe_1").watch() as events:
    say(next(events).state)
    threading.Timer(0.05, events.cancel).start()
    say(refusal(lambda: next(events)).code)
`;
  const said = await python(skip, { url: watched.fake.url, apiKey: "key" }, program);
  if (!said) return;
  expect(said).toEqual([repeatedLines, "KEY_REVOKED", "RUNNING", "CANCELED"]);
  expect(watched.asked).toEqual([0n, 4n, 5n, 0n, 0n]);
});

test("a wire that is cut and a server that goes, with another in its place, lose and repeat nothing", async ({ skip }) => {
  const first = await startAnother(service.server);
  const relay = await startRelay(first.port);
  onTestFinished(async () => {
    await relay.close();
    await first.stop();
  });
  const steps = Array.from({ length: 8 }, (_, index) => [httpStep(`call${index}`, `${service.ledger.url}/c`), delayStep(`wait${index}`, "0.2s")]).flat();
  const workflow = await createWorkflow(service.clients, steps, { outputs: { done: "{{steps.wait7.status}}" } });
  const program = `
import threading
run = wf.start("${workflow}")
results = []
waiting = threading.Thread(target=lambda: results.append(run.result()))
waiting.start()
for told in run.watch():
    say(told.sequence)
waiting.join()
say(results)
`;
  let replaced: Promise<unknown> | undefined;
  const said = await python(skip, { url: relay.url, apiKey: service.server.apiKey }, program, (line) => {
    if (line === 6 || line === 12) relay.cut();
    if (line !== 18) return;
    relay.target = service.server.port;
    replaced = first.stop();
    replaced.catch(() => undefined); // looked at below
  });
  if (!said) return;
  expect(replaced).toBeDefined();
  await replaced;
  expect(said.slice(0, -1)).toEqual(said.slice(0, -1).map((_, index) => index + 1));
  expect(said.at(-1)).toEqual([{ done: "completed" }]);
});

test("an output that is too large to come along is read by itself; a key function's own error comes out as it is, at once", async ({ skip }) => {
  const ended = { id: "exe_1", state: 7 };
  const output = "x".repeat(5 * 1024 * 1024);
  const fake = await startFake({
    waitExecution: () => ({ execution: { ...ended, omittedFields: ["output"] } }),
    getExecution: ({ allowLarge }) => ({
      execution: allowLarge ? { ...ended, output: { kind: { case: "stringValue", value: output } } } : { ...ended, omittedFields: ["output"] },
    }),
  });
  onTestFinished(() => fake.close());
  const program = `
import grpc
run = wf.run("exe_1")
say(len(run.result()))
say([run.ended().omitted_fields, run.status().omitted_fields, run.status().output])
class Away(grpc.RpcError):
    def code(self):
        return grpc.StatusCode.UNAVAILABLE
    def details(self):
        return "the vault is closed"
    def trailing_metadata(self):
        return ()
own, count = Away(), 0
def key():
    global count
    count += 1
    raise own
with WorkflowClient(api_key=key) as locked:
    for call in (locked.run("exe_1").status, lambda: list(locked.run("exe_1").watch(unreachable_max=1))):
        try:
            call()
        except grpc.RpcError as error:
            say([error is own, count])
`;
  const said = await python(skip, { url: fake.url, apiKey: "key" }, program);
  if (!said) return;
  expect(said).toEqual([5 * 1024 * 1024, [["output"], ["output"], null], [true, 1], [true, 2]]);
});
