/** Where workers wait: hints reach as many as are needed, waiting costs nothing, and nobody is forgotten. */
import { describe, expect, it } from "vitest";
import type { NewTask, TakenTask } from "../../src/domain/task.ts";
import { TaskBoard, type TaskWait, type WorkerAsk } from "../../src/engine/task-board.ts";
import type { TakeRequest } from "../../src/store/task-store.ts";

interface Told {
  readonly tasks: [string, string, number][];
  readonly ends: string[];
  readonly wants: Map<string, number>;
}

function boardOf(stock: Map<string, string[]>, takes: TakeRequest[] = []): { board: TaskBoard; told: Told } {
  const told: Told = { tasks: [], ends: [], wants: new Map() };
  const board = new TaskBoard({
    store: {
      take: async (request) => {
        takes.push(request);
        return (stock.get(request.queue)?.splice(0, request.countMax) ?? []).map((id) => ({ id }) as TakenTask);
      },
      recall: async () => true,
    },
    news: {
      tellTasks: (tenantId, queue, count) => told.tasks.push([tenantId, queue, count]),
      tellTaskEnds: (_, taskIds) => told.ends.push(...taskIds),
      want: (tenantId, topic) => {
        const key = `${tenantId} ${topic}`;
        told.wants.set(key, (told.wants.get(key) ?? 0) + 1);
        return () => void told.wants.set(key, (told.wants.get(key) ?? 0) - 1);
      },
    },
  });
  return { board, told };
}

const ask = (worker: string, queues: readonly string[] = ["q"]): WorkerAsk => ({
  tenantId: "acme",
  worker,
  queues,
  taskTypes: [],
  labels: {},
  session: undefined,
});
const opened = (queue: string, count: number): NewTask[] => Array.from({ length: count }, () => ({ queue }) as NewTask);
const never = new AbortController().signal;
function waitAt(board: TaskBoard, worker: WorkerAsk): TaskWait {
  const wait = board.wait(worker);
  wait.look();
  return wait;
}
/** Names of the waiters that were woken, after all promises have settled. */
async function woken(waits: Record<string, { until(signal: AbortSignal): Promise<void> }>): Promise<string[]> {
  const names: string[] = [];
  for (const [name, wait] of Object.entries(waits)) void wait.until(never).then(() => names.push(name));
  await new Promise((resolve) => setImmediate(resolve));
  return names.sort();
}

describe("waiting workers", () => {
  it("are woken in the order they came, as many as there are tasks, on this replica and told to others", async () => {
    const { board, told } = boardOf(new Map());
    const waits = { a: waitAt(board, ask("a")), b: waitAt(board, ask("b")), c: waitAt(board, ask("c")) };
    board.changed("acme", opened("q", 2), []);
    expect(await woken(waits)).toEqual(["a", "b"]);
    expect(told.tasks).toEqual([["acme", "q", 2]]);
    expect(told.wants.get("acme queue q")).toBe(1);
  });

  it("of other tenants and queues sleep on", async () => {
    const { board } = boardOf(new Map());
    const waits = { other: waitAt(board, { ...ask("a"), tenantId: "other" }), elsewhere: waitAt(board, ask("b", ["r"])) };
    board.changed("acme", opened("q", 5), []);
    expect(await woken(waits)).toEqual([]);
  });

  it("that cannot use a hint hand it on, until everybody has had it once", async () => {
    const { board } = boardOf(new Map());
    const waits = { a: waitAt(board, ask("a")), b: waitAt(board, ask("b")), c: waitAt(board, ask("c")) };
    board.heardOf("acme", "q", 1);
    expect(await woken(waits)).toEqual(["a"]);
    waits.a.pass(waits.a.look());
    expect(await woken(waits)).toEqual(["b"]);
    waits.b.pass(waits.b.look());
    expect(await woken(waits)).toEqual(["c"]);
    waits.c.pass(waits.c.look());
    expect(await woken(waits)).toEqual([]);
  });

  it("that leave with a hint in hand leave it to the next", async () => {
    const { board } = boardOf(new Map());
    const [a, b] = [waitAt(board, ask("a")), waitAt(board, ask("b"))];
    board.heardOf("acme", "q", 1);
    a.leave();
    expect(await woken({ b })).toEqual(["b"]);
  });

  it("ask nothing while they wait, and their queues are forgotten when nobody waits any more", async () => {
    const takes: TakeRequest[] = [];
    const { board, told } = boardOf(new Map(), takes);
    const waits = Array.from({ length: 1_000 }, (_, index) => waitAt(board, ask(`w${index}`)));
    expect(board.awaited).toEqual([{ tenantId: "acme", queue: "q" }]);
    board.tidy();
    board.tidy();
    expect([takes.length, told.wants.get("acme queue q")]).toEqual([0, 1]);
    for (const wait of waits) wait.leave();
    board.tidy();
    expect([board.awaited, told.wants.get("acme queue q")]).toEqual([[], 1]);
    board.tidy();
    expect(told.wants.get("acme queue q")).toBe(0);
  });

  it("miss nothing that comes while they look", async () => {
    const { board } = boardOf(new Map());
    const [a, b] = [waitAt(board, ask("a")), waitAt(board, ask("b"))];
    const hint = a.look();
    board.heardOf("acme", "q", 1);
    a.pass(hint);
    expect(await woken({ a, b })).toEqual(["a"]);
  });

  it("that were aborted stop waiting", async () => {
    const { board } = boardOf(new Map());
    const abort = new AbortController();
    const wait = waitAt(board, ask("a"));
    const over = wait.until(abort.signal);
    abort.abort();
    await over;
    wait.leave();
    expect(board.awaited).toEqual([]);
  });
});

it("a worker of several queues is given from each in turn", async () => {
  const { board } = boardOf(
    new Map([
      ["x", ["x1", "x2", "x3"]],
      ["y", ["y1", "y2", "y3"]],
    ]),
  );
  const first: string[] = [];
  for (let round = 0; round < 4; round++) first.push(...(await board.take(ask("w", ["x", "y"]), 1)).map(({ id }) => id[0] ?? ""));
  expect(first.sort()).toEqual(["x", "x", "y", "y"]);
  expect(await board.take(ask("w", ["x", "y"]), 10)).toHaveLength(2);
});

it("the end of a task is told once to whoever follows it, and to peers", () => {
  const { board, told } = boardOf(new Map());
  const ends: string[] = [];
  board.follow("tsk_1", () => ends.push("tsk_1"));
  const forget = board.follow("tsk_2", () => ends.push("tsk_2"));
  forget();
  board.changed("acme", [], ["tsk_1", "tsk_2"]);
  board.ended("tsk_1");
  expect(ends).toEqual(["tsk_1"]);
  expect(told.ends).toEqual(["tsk_1", "tsk_2"]);
});
