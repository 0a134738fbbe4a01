/** What every journal promises, held against the batched one that serves and the plain one that only says what is right. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { executionRow } from "../../src/domain/projection.ts";
import type { AppendOutcome } from "../../src/store/journal.ts";
import { connect, openPlace, openReplica, ownerOf, type Place, type Replica, sequencesOf, someoneWaits, until, Writer } from "./journal-fixture.ts";

describe.each([
  { journal: "batched", plain: false },
  { journal: "plain", plain: true },
])("the $journal journal", ({ plain }) => {
  const open = (options: Parameters<typeof openReplica>[1] = {}) => openReplica(place, { ...options, plain });
  let place: Place;
  let replica: Replica;

  beforeAll(async () => {
    place = await openPlace();
    replica = await open();
  });
  afterAll(async () => {
    await replica[Symbol.asyncDispose]();
    await place[Symbol.asyncDispose]();
  });

  const committed: AppendOutcome = { kind: "committed" };
  const writers = (count: number): Writer[] => Array.from({ length: count }, () => new Writer());

  async function started(count: number, by: Replica = replica): Promise<Writer[]> {
    const all = writers(count);
    for (const outcome of await Promise.all(all.map((writer) => by.journal.append(writer.start())))) expect(outcome).toEqual(committed);
    return all;
  }

  describe("an append", () => {
    it("is visible once it is acknowledged, with all its rows", async () => {
      const [writer] = (await started(1)) as [Writer];
      await replica.journal.append(writer.step("a"));
      expect(await ownerOf(place, writer.uuid)).toBe(replica.lease.replicaId);
      expect(await replica.journal.append(writer.end())).toEqual(committed);
      expect(await sequencesOf(place, writer.uuid)).toEqual([1, 2, 3, 4]);
      const { rows } = await place.pool.query(
        `select e.state, e.end_reason, e.output, e.last_sequence, e.owner, e.wake_at, e.end_time, i.state as saga, i.end_time as saga_end, s.path, s.state as step, s.result_sequence
         from workflow_executions e join workflow_instances i using (tenant_id, id) join workflow_execution_steps s on s.execution_id = e.id where e.id = $1`,
        [writer.uuid],
      );
      const { status, saga, endReason, lastSequence, endedAt } = executionRow(writer.state);
      const endTime = new Date(endedAt ?? 0);
      expect(rows).toEqual([
        {
          state: status,
          end_reason: endReason,
          output: null,
          last_sequence: lastSequence,
          owner: null,
          wake_at: null,
          end_time: endTime,
          saga,
          saga_end: endTime,
          path: "a",
          step: "completed",
          result_sequence: 3,
        },
      ]);
    });

    it("parks an execution until its moment", async () => {
      const [writer] = (await started(1)) as [Writer];
      const wakeAt = Date.now() + 3_600_000;
      expect(await replica.journal.append(writer.park(wakeAt))).toEqual(committed);
      const { rows } = await place.pool.query("select owner, state, wake_at from workflow_executions where id = $1", [writer.uuid]);
      expect(rows).toEqual([{ owner: null, state: "waiting", wake_at: new Date(wakeAt) }]);
    });

    it("keeps the order of one execution's appends when they are not awaited", async () => {
      const [writer] = (await started(1)) as [Writer];
      const outcomes = await Promise.all(["a", "b", "c", "d"].map((name) => replica.journal.append(writer.step(name))));
      expect(outcomes).toEqual(Array(4).fill(committed));
      expect(await sequencesOf(place, writer.uuid)).toEqual([1, 2, 3, 4, 5, 6]);
    });

    it("whose row was changed by a later append of the same batch shows the later one", async () => {
      const writer = new Writer();
      const outcomes = await Promise.all([writer.start(), writer.step("a"), writer.end()].map((request) => replica.journal.append(request)));
      expect(outcomes).toEqual(Array(3).fill(committed));
      const { rows } = await place.pool.query("select state, last_sequence from workflow_executions where id = $1", [writer.uuid]);
      expect(rows).toEqual([{ state: "completed", last_sequence: 4 }]);
    });
  });

  describe("the fence", () => {
    async function expectFenced(other: Replica, all: readonly Writer[]): Promise<void> {
      const outcomes = await Promise.all([
        ...all.map((writer) => other.journal.append(writer.step("late"))),
        ...writers(3).map((writer) => other.journal.append(writer.start())),
      ]);
      expect(outcomes).toEqual(Array(all.length + 3).fill({ kind: "fenced" }));
      for (const writer of all) expect(await sequencesOf(place, writer.uuid)).toEqual([1, 2]);
      const { rows } = await place.pool.query("select 1 from workflow_executions where owner = $1 and last_sequence > 2", [other.lease.replicaId]);
      expect(rows).toEqual([]);
      expect(other.fenced.times).toBeGreaterThan(0);
    }

    it("refuses a whole flush of an older epoch", async () => {
      await using other = await open();
      const all = await started(3, other);
      const stale = other.fence;
      await other.lease.register("again");
      other.fence = stale;
      await expectFenced(other, all);
    });

    it("refuses a whole flush after the lease ran out", async () => {
      await using other = await open();
      const all = await started(3, other);
      await place.pool.query("update replicas set expire_time = clock_timestamp() - interval '1 second' where id = $1", [other.lease.replicaId]);
      await expectFenced(other, all);
    });

    it("refuses what was appended under an epoch that is over when its turn comes", async () => {
      await using other = await open({ journal: { flightsMax: 1 } });
      const [first, second] = (await started(2, other)) as [Writer, Writer];
      const holder = await connect(place);
      await holder.query("begin");
      await holder.query("select from workflow_instances where id = $1 for update", [first.uuid]);
      const flying = other.journal.append(first.end());
      await until(place, someoneWaits);
      const waiting = other.journal.append(second.step("late"));
      await place.pool.query("update replicas set epoch = 2 where id = $1", [other.lease.replicaId]);
      other.fence = { ...other.fence, epoch: 2 };
      const fresh = other.journal.append(new Writer().start());
      await holder.end();
      expect([await flying, await waiting, await fresh]).toEqual([committed, { kind: "fenced" }, committed]);
      expect(await sequencesOf(place, second.uuid)).toEqual([1, 2]);
      expect(other.fenced.times).toBe(0);
    });

    it("refuses a whole flush after a takeover, and the new owner goes on", async () => {
      await using other = await open();
      const all = await started(3, other);
      await other.lease.close();
      while ((await ownerOf(place, all[0]?.uuid ?? "")) !== null) await replica.lease.takeOverDead();
      await expectFenced(other, all);
    });
  });

  describe("one bad append among others", () => {
    it("is a conflict when its number is taken; the others commit", async () => {
      const all = await started(9);
      const guilty = all[4] as Writer;
      await place.pool.query("insert into execution_events values ('acme', $1, 3, 'anomaly', '', 0, now(), '{}')", [guilty.uuid]);
      const outcomes = await Promise.all(all.map((writer) => replica.journal.append(writer.step("a"))));
      expect(outcomes.map(({ kind }) => kind)).toEqual(all.map((writer) => (writer === guilty ? "conflict" : "committed")));
      for (const writer of all) expect(await sequencesOf(place, writer.uuid)).toEqual([1, 2, 3]);
    });

    it("is refused alone when PostgreSQL cannot store a value", async () => {
      const all = writers(9);
      const outcomes = await Promise.all(
        all.map((writer, index) =>
          replica.journal.append(writer.start(index === 3 ? { labels: { a: "\u0000" } } : index === 6 ? { correlationId: "half \ud800\u0000" } : {})),
        ),
      );
      expect(outcomes.map(({ kind }) => kind)).toEqual(all.map((_, index) => (index === 3 || index === 6 ? "refused" : "committed")));
      expect(outcomes[3]).toMatchObject({ message: expect.stringContaining("22P05") });
      for (const [index, writer] of all.entries()) expect(await sequencesOf(place, writer.uuid)).toEqual(index === 3 || index === 6 ? [] : [1, 2]);
    });

    it("is told that it exists when its request id or its execution key is taken; nothing of it is written", async () => {
      const all = writers(4);
      const shared = { requestId: "req-1", requestHash: Buffer.from("aa", "hex") };
      const fields = [shared, shared, { executionKey: "order-7" }, { executionKey: "order-7" }];
      const outcomes = await Promise.all(all.map((writer, index) => replica.journal.append(writer.start(fields[index]))));
      expect(outcomes.map(({ kind }) => kind)).toEqual(["committed", "exists", "committed", "exists"]);
      expect(await sequencesOf(place, (all[1] as Writer).uuid)).toEqual([]);
      const later = new Writer();
      expect(await replica.journal.append(later.start({ executionKey: "order-7" }))).toEqual({ kind: "exists" });
      await replica.journal.append((all[2] as Writer).end());
      expect(await replica.journal.append(new Writer().start({ executionKey: "order-7" }))).toEqual(committed);
      expect(await replica.journal.append(new Writer("rival").start({ executionKey: "order-7" }))).toEqual(committed);
    });

    it("does not touch an execution that another replica took over meanwhile", async () => {
      await using other = await open();
      const [writer] = (await started(1)) as [Writer];
      await place.pool.query("update workflow_executions set owner = $2 where id = $1", [writer.uuid, other.lease.replicaId]);
      await replica.journal.append(writer.park());
      expect(await ownerOf(place, writer.uuid)).toBe(other.lease.replicaId);
    });
  });

  describe("a journal whose connections are killed", () => {
    it("acknowledges nothing that is not in the ledger, and writes nothing twice", async () => {
      const all = await started(32);
      const acknowledged = new Map<Writer, number>();
      const killer = await connect(place);
      let kills = 0;
      let sinceKill = 0;
      const write = async (writer: Writer): Promise<void> => {
        for (let step = 0; step < 40; step++) {
          expect(await replica.journal.append(writer.step(`s${step}`))).toEqual(committed);
          acknowledged.set(writer, writer.state.sequence);
          if (++sinceKill < 100) continue;
          sinceKill = 0;
          kills +=
            (
              await killer.query(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'pawf-journal'",
              )
            ).rowCount ?? 0;
        }
      };
      await Promise.all(all.map(write));
      await killer.end();
      expect(kills).toBeGreaterThan(0);
      for (const writer of all) {
        expect(acknowledged.get(writer)).toBe(42);
        expect(await sequencesOf(place, writer.uuid)).toEqual(Array.from({ length: 42 }, (_, index) => index + 1));
      }
    });
  });
});
