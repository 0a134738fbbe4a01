import { describe, expect, it } from "vitest";
import { Batcher, type BatchItem } from "../../src/base/batcher.ts";
import { fc } from "../support/property.ts";

interface Item extends BatchItem {
  readonly number: number;
}

const itemOf = (number: number, key = `k${number}`, rows = 1, bytes = 1): Item => ({ number, key, rows, bytes });

/** A flush that a test lets end by hand. */
interface Flight {
  readonly items: readonly Item[];
  land(): void;
  crash(error: Error): void;
}

function openBatcher(limits: { flightsMax?: number; rowsMax?: number; bytesMax?: number } = {}) {
  const flights: Flight[] = [];
  let news = Promise.withResolvers<void>();
  const batcher = new Batcher<Item, string>({
    flightsMax: 2,
    rowsMax: 100,
    bytesMax: 1_000,
    ...limits,
    flush: (items) =>
      new Promise((resolve, reject) => {
        flights.push({ items, land: () => resolve(items.map(({ number }) => `done ${number}`)), crash: reject });
        news.resolve();
        news = Promise.withResolvers();
      }),
  });
  /** The nth flight from 0, as soon as it has left. */
  const flight = async (index: number): Promise<Flight> => {
    while (!flights[index]) await news.promise;
    return flights[index];
  };
  return { batcher, flights, flight };
}

const numbersOf = ({ items }: Flight): number[] => items.map(({ number }) => number);
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("a batch", () => {
  it("takes everything that is ready in the same turn of the event loop and answers each item with its own outcome", async () => {
    const { batcher, flight } = openBatcher();
    const outcomes = Promise.all([1, 2, 3].map((number) => batcher.add(itemOf(number))));
    expect(batcher.backlogRows).toBe(3);
    const first = await flight(0);
    expect(numbersOf(first)).toEqual([1, 2, 3]);
    expect(batcher.backlogRows).toBe(0);
    first.land();
    expect(await outcomes).toEqual(["done 1", "done 2", "done 3"]);
  });

  it("fills while others fly, never more of them than allowed", async () => {
    const { batcher, flights, flight } = openBatcher();
    const outcomes: Promise<string>[] = [];
    for (let number = 0; number < 4; number++) {
      outcomes.push(batcher.add(itemOf(number)));
      await nextTurn();
      await nextTurn();
    }
    expect(flights.map(numbersOf)).toEqual([[0], [1]]);
    expect(batcher.backlogRows).toBe(2);
    flights[1]?.land();
    expect(numbersOf(await flight(2))).toEqual([2, 3]);
    for (const { land } of flights) land();
    await Promise.all(outcomes);
  });

  it("is cut at its rows and at its bytes; a single larger item goes alone", async () => {
    const { batcher, flight, flights } = openBatcher({ flightsMax: 10, rowsMax: 3, bytesMax: 10 });
    const outcomes = Promise.all(
      [itemOf(1, "a", 2), itemOf(2, "b", 2), itemOf(3, "c", 1, 8), itemOf(4, "d", 1, 3), itemOf(5, "e", 9, 99), itemOf(6, "f")].map((item) =>
        batcher.add(item),
      ),
    );
    await flight(4);
    expect(flights.map(numbersOf)).toEqual([[1], [2, 3], [4], [5], [6]]);
    for (const { land } of flights) land();
    await outcomes;
  });

  it("holds one item of a key; the next one waits until that is written, and others pass it", async () => {
    const { batcher, flight, flights } = openBatcher({ flightsMax: 3 });
    const outcomes = Promise.all([itemOf(1, "a"), itemOf(2, "a"), itemOf(3, "b"), itemOf(4, "a")].map((item) => batcher.add(item)));
    await flight(0);
    await nextTurn();
    expect(flights.map(numbersOf)).toEqual([[1, 3]]);
    flights[0]?.land();
    (await flight(1)).land();
    (await flight(2)).land();
    expect(flights.map(numbersOf)).toEqual([[1, 3], [2], [4]]);
    await outcomes;
  });

  it("fails all its items with what its flush threw, and the next one flies all the same", async () => {
    const { batcher, flight } = openBatcher();
    const outcomes = Promise.allSettled([batcher.add(itemOf(1, "a")), batcher.add(itemOf(2, "b")), batcher.add(itemOf(3, "a"))]);
    (await flight(0)).crash(new Error("the disk is full"));
    (await flight(1)).land();
    expect((await outcomes).map((outcome) => (outcome.status === "fulfilled" ? outcome.value : String(outcome.reason)))).toEqual([
      "Error: the disk is full",
      "Error: the disk is full",
      "done 3",
    ]);
  });
});

describe("stop", () => {
  it("writes what was added, then refuses, and may be called twice", async () => {
    const { batcher, flight } = openBatcher({ flightsMax: 1, rowsMax: 2 });
    const outcomes = Promise.all([1, 2, 3, 4, 5].map((number) => batcher.add(itemOf(number))));
    const stopping = Promise.all([batcher.stop(), batcher.stop()]);
    for (const index of [0, 1, 2]) (await flight(index)).land();
    await stopping;
    expect(await outcomes).toHaveLength(5);
    await expect(batcher.add(itemOf(6))).rejects.toMatchObject({ reason: "SERVER_DRAINING" });
  });

  it("ends at once when there is nothing to write", async () => {
    await openBatcher().batcher.stop();
  });
});

it("keeps the order of every key and loses nothing, whatever fails", async () => {
  const scenario = fc.record({
    keys: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 60 }),
    flightsMax: fc.integer({ min: 1, max: 3 }),
    rowsMax: fc.integer({ min: 1, max: 8 }),
    fails: fc.func(fc.integer({ min: 0, max: 3 })),
    s: fc.scheduler(),
  });
  await fc.assert(
    fc.asyncProperty(scenario, async ({ keys, flightsMax, rowsMax, fails, s }) => {
      const written: Item[] = [];
      const flying = new Set<string>();
      let flights = 0;
      const batcher = new Batcher<Item, number>({
        flightsMax,
        rowsMax,
        bytesMax: 1_000,
        async flush(items) {
          expect(++flights).toBeLessThanOrEqual(flightsMax);
          expect(items.reduce((sum, { rows }) => sum + rows, 0)).toBeLessThanOrEqual(rowsMax);
          for (const { key } of items) expect(flying.has(key), `${key} is under way twice`).toBe(false);
          for (const { key } of items) flying.add(key);
          await s.schedule(Promise.resolve());
          flights--;
          for (const { key } of items) flying.delete(key);
          if (fails(items[0]?.number) === 0) throw new Error("lost connection");
          written.push(...items);
          return items.map(({ number }) => number);
        },
      });
      const added = keys.map((key, number) => batcher.add(itemOf(number, `k${key}`)).then((told) => ({ number, told })));
      const settled = Promise.allSettled(added);
      const stopping = batcher.stop();
      let isOver = false;
      void stopping.then(() => (isOver = true));
      while (!isOver) {
        if (s.count() > 0) await s.waitOne();
        await nextTurn();
      }
      const outcomes = await settled;
      const told = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? outcome.value : []));
      expect(told.every(({ number, told: answer }) => number === answer)).toBe(true);
      expect(told.map(({ number }) => number).sort((a, b) => a - b)).toEqual(written.map(({ number }) => number).sort((a, b) => a - b));
      for (const key of new Set(keys)) {
        const order = written.filter((item) => item.key === `k${key}`).map(({ number }) => number);
        expect(order).toEqual([...order].sort((a, b) => a - b));
      }
    }),
    { numRuns: 100, interruptAfterTimeLimit: 10_000 },
  );
});
