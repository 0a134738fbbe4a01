/** The command against a real service. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, expect, it } from "vitest";
import { createWorkflow } from "./support/definitions.ts";
import { useServer } from "./support/fixture.ts";
import { startForwarder } from "./support/forwarder.ts";
import { startAnother } from "./support/hosted-server.ts";
import { type Circumstances, runCli } from "./support/run-cli.ts";

const fixture = useServer();
let hello = "";
let broken = "";
let waiting = "";

beforeAll(async () => {
  hello = await createWorkflow(fixture.clients, [{ name: "greet", log: { message: "hello {{trigger.data.name}}" } }], {
    input_schema: { type: "object", required: ["name"] },
  });
  broken = await createWorkflow(fixture.clients, [{ name: "stop", fail: { error: "NO_STOCK", message: "none \u001b[2Jleft" } }]);
  waiting = await createWorkflow(fixture.clients, [{ name: "paid", wait_for_event: { any_of: [{ event_type: "payment.settled" }] } }]);
});

const pawf = (argv: readonly string[], circumstances: Partial<Circumstances> = {}) =>
  runCli(argv, { url: fixture.server.url, apiKey: fixture.server.apiKey, ...circumstances });
const start = async (workflow: string, ...more: readonly string[]): Promise<string> => (await pawf(["run", workflow, ...more])).out.trim();

it("run prints the id and nothing else to stdout; with --watch its events, and its end is the exit code", async () => {
  const started = await pawf(["run", hello, "-i", "name=Ada"]);
  expect(started).toMatchObject({ code: 0, out: expect.stringMatching(/^exe_\w{26}\n$/) });
  expect(started.err).toBe(`next: pawf watch ${started.out}`);
  const watched = await pawf(["run", hello, "-i", "-", "--watch"], { input: '{"name":"Bob"}' });
  expect(watched.code).toBe(0);
  expect(watched.out).toMatch(/1 {2}execution_created .*\n(.*\n)*.*step_succeeded {2}greet(.*\n)*.*execution_ended {2}COMPLETED {2}SUCCESS\n$/);
  const failed = await pawf(["run", broken, "--watch"]);
  expect(failed.code).toBe(1);
  expect(failed.err).toContain("FAILED  at stop  USER.NO_STOCK: none \\u001b[2Jleft");
  expect(failed.out + failed.err).not.toContain("\u001b");
});

it("a watch gives each event once as a JSON line, also over a restart of the service", async () => {
  const id = await start(waiting);
  const waits = Promise.withResolvers<void>();
  let port = fixture.server.port;
  const forwarder = await startForwarder(() => port);
  // The watch is under way when its service goes; the successor is behind the same address.
  const watching = pawf(["watch", id, "-o", "jsonl"], { url: forwarder.url, onOut: (text) => text.includes("step_waiting") && waits.resolve() });
  await waits.promise;
  // Whoever gets the old one's port next is a stranger.
  port = 0;
  await fixture.server.stop();
  fixture.server = await startAnother(fixture.server);
  port = fixture.server.port;
  expect((await pawf(["execution", "signal", id, "payment.settled", "-d", '{"amount":42}'])).out).toMatch(/^sig_/);
  const { code, out, err } = await watching;
  await forwarder.close();
  const events = out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { sequence: string; type: string });
  expect(code).toBe(0);
  expect(events.map(({ sequence }) => Number(sequence))).toEqual(events.map((_, index) => index + 1));
  expect(events.at(-1)?.type).toBe("execution_ended");
  expect(err).toContain("the connection broke");
});

it("on a terminal a watch is a tree that is redrawn", async () => {
  const { code, out } = await pawf(["watch", await start(hello, "-i", "name=Ada")], { columns: 100 });
  expect(code).toBe(0);
  expect(out).toContain("COMPLETED");
  expect(out).toMatch(/└ \S*✓\S* greet {2,}log/);
  expect((await pawf(["watch", "exe_x", "--after-sequence", "3"], { columns: 100 })).code).toBe(2);
});

it("why tells the cause and the next command; describe shows steps, list filters and picks columns", async () => {
  const id = await start(broken);
  await pawf(["watch", id]);
  const why = await pawf(["execution", "why", id]);
  expect(why.out).toMatch(/^FAILED {2}exe_\w+/);
  expect(why.out).toContain("USER.NO_STOCK: none \\u001b[2Jleft");
  expect(why.out).toContain(`pawf execution retry ${id}`);
  expect((await pawf(["execution", "describe", id])).out).toMatch(/✗ stop +fail(.*\n)*failed_step +stop\n/);
  const list = await pawf(["execution", "list", "--filter", "state = FAILED", "--fields", "id,failed_step", "--limit", "1"]);
  expect(list.out).toMatch(/^ID +FAILED_STEP\nexe_\w+ +stop\n$/);
  expect(list.err).toContain("there are more");
  const json = JSON.parse((await pawf(["execution", "list", "-o", "json", "--filter", `id = ${id}`])).out) as { executions: { id: string }[] };
  expect(json.executions.map((execution) => execution.id)).toEqual([id]);
});

it("pause, resume, cancel and terminate say how it stands now", async () => {
  const id = await start(waiting);
  expect((await pawf(["execution", "pause", id, "--reason", "lunch"])).out).toMatch(/PAUSED/);
  expect((await pawf(["execution", "why", id])).out).toContain(`pawf execution resume ${id}`);
  expect((await pawf(["execution", "resume", id])).code).toBe(0);
  expect((await pawf(["execution", "cancel", id, "--dry-run"])).err).toContain("nothing was changed");
  expect((await pawf(["execution", "terminate", id])).code).toBe(2);
  expect((await pawf(["execution", "terminate", id, "--reason", "enough"])).out).toContain("TERMINATED");
  expect(await pawf(["execution", "cancel", id])).toMatchObject({ code: 1, err: expect.stringContaining("EXECUTION_TERMINAL") });
});

it("call reaches any rpc; a stream is one JSON value per line; what does not fit is refused before it is sent", async () => {
  const count = await pawf(["call", "WorkflowService/CountExecutions", "-d", '{"filter":"state = COMPLETED"}']);
  expect(JSON.parse(count.out)).toHaveProperty("total_count");
  const id = await start(hello, "-i", "name=Ada");
  const stream = await pawf(["call", "workflowservice/WatchExecution", "-d", JSON.stringify({ execution_id: id, after_sequence: "0" })]);
  expect(
    stream.out
      .trim()
      .split("\n")
      .map((line) => Object.keys(JSON.parse(line) as object)[0]),
  ).toContain("event");
  expect(await pawf(["call", "WorkflowService/GetExecution", "-d", '{"id":1}'])).toMatchObject({ code: 2, err: expect.stringContaining('"id"') });
});

it("exit codes tell a script what went wrong, and no message holds the key", async () => {
  const secret = `pawf_${"0".repeat(26)}_${"s".repeat(43)}`;
  const cases = [
    [["execution", "describe", "exe_01M851KAV9FWTBZ3N43SZ12HKB"], {}, 3, "EXECUTION_NOT_FOUND"],
    [["run", "no-such-workflow"], {}, 3, "WORKFLOW_NOT_FOUND"],
    [["execution", "list"], { apiKey: "" }, 4, "KEY_MISSING"],
    [["execution", "list"], { apiKey: secret }, 4, "KEY_INVALID"],
    [["execution", "list", "--key", `${secret}\n`], {}, 4, "KEY_INVALID"],
    [["execution", "list", "--key", "päß"], {}, 2, "its value is not shown"],
    [["execution", "list", "--filter", "colour = red"], {}, 2, "FILTER_INVALID"],
    [["run", hello], {}, 2, "INPUT_SCHEMA_MISMATCH"],
    [["execution", "list", "--watch"], {}, 2, "pawf execution list --help"],
    [["execution", "list", "-o", "constructor"], {}, 2, "--output is one of table, json, jsonl"],
    [["fly"], {}, 2, '"fly" is no command'],
    [["execution"], {}, 2, "pawf execution needs one of: list"],
    [["execution", "list"], { url: "http://127.0.0.1:9" }, 5, "is the service running at"],
    [["execution", "list"], { url: "http://user:pass@h" }, 2, "no credentials"],
  ] as const;
  for (const [argv, circumstances, code, words] of cases) {
    const ran = await pawf(argv, circumstances);
    expect({ argv, code: ran.code, out: ran.out }).toEqual({ argv, code, out: "" });
    expect(ran.err).toContain(words);
    expect(ran.err).not.toContain(secret.slice(32));
  }
});

it("the program itself: arguments in, data on stdout, the rest on stderr, its exit code out", async () => {
  const program = fileURLToPath(new URL("../../bin/pawf.js", import.meta.url));
  const env = { ...process.env, PAWF_URL: fixture.server.url, PAWF_API_KEY: fixture.server.apiKey };
  const spawned = promisify(execFile)(process.execPath, [program, "run", broken, "--watch", "-o", "json"], { env });
  await expect(spawned).rejects.toMatchObject({
    code: 1,
    stdout: expect.stringContaining('"type":"execution_ended"'),
    stderr: expect.stringContaining("pawf execution why"),
  });
});
