import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connect, openPlace, openReplica, ownerOf, type Place, type Replica, sequencesOf, someoneWaits, until, Writer } from "./journal-fixture.ts";

let place: Place;

beforeAll(async () => {
  place = await openPlace();
});
afterAll(() => place[Symbol.asyncDispose]());

async function drives(replica: Replica, count: number): Promise<Writer[]> {
  const all = Array.from({ length: count }, () => new Writer());
  const outcomes = await Promise.all(all.map((writer) => replica.journal.append(writer.start())));
  expect(outcomes.every(({ kind }) => kind === "committed")).toBe(true);
  return all;
}

/** Ends the lease's connection from outside, as a crash or a cut cable would. */
async function killLeaseOf(replica: Replica): Promise<void> {
  await place.pool.query(
    `select pg_terminate_backend(l.pid) from pg_locks l join replicas r on l.locktype = 'advisory' and (l.classid::bigint << 32 | l.objid::bigint) = r.presence_key
     where r.id = $1 and l.granted and l.database = (select oid from pg_database where datname = current_database())`,
    [replica.lease.replicaId],
  );
  await until(
    place,
    "not exists (select 1 from pg_locks l join replicas r on l.locktype = 'advisory' and (l.classid::bigint << 32 | l.objid::bigint) = r.presence_key where r.id = $1 and l.granted)",
    [replica.lease.replicaId],
  );
}

async function rowOf(replica: Replica): Promise<{ epoch: number; live: boolean } | undefined> {
  const { rows } = await place.pool.query<{ epoch: number; live: boolean }>(
    "select epoch::int, expire_time > clock_timestamp() as live from replicas where id = $1",
    [replica.lease.replicaId],
  );
  return rows[0];
}

describe("a lease", () => {
  it("begins with epoch 1, is renewed under it, and tells the database's clock", async () => {
    await using replica = await openReplica(place);
    expect(replica.fence.epoch).toBe(1);
    const before = Date.now();
    const renewed = await replica.lease.renew(1);
    expect(renewed?.epoch).toBe(1);
    // Within the call, give or take what the two clocks differ by.
    expect(renewed?.databaseNow).toBeGreaterThan(before - 2_000);
    expect(renewed?.databaseNow).toBeLessThan(Date.now() + 2_000);
  });

  it("is not renewed after it ran out, under an older epoch, or after a peer took it", async () => {
    await using replica = await openReplica(place, { leaseMs: 1 });
    await until(place, "(select expire_time < clock_timestamp() from replicas where id = $1)", [replica.lease.replicaId]);
    expect(await replica.lease.renew(1)).toBeUndefined();

    await using again = await openReplica(place);
    expect((await again.lease.register("again")).epoch).toBe(2);
    expect(await again.lease.renew(1)).toBeUndefined();
    expect(await again.lease.renew(2)).toMatchObject({ epoch: 2 });
  });

  it("is given back at once on release, with all that its replica drove", async () => {
    await using peer = await openReplica(place);
    await using replica = await openReplica(place);
    const [writer] = (await drives(replica, 1)) as [Writer];
    await replica.lease.release(replica.fence.epoch);
    expect(await ownerOf(place, writer.uuid)).toBeNull();
    expect(await replica.journal.append(writer.step("late"))).toEqual({ kind: "fenced" });
    expect(await peer.lease.takeOverDead()).toBe(0);
  });
});

describe("a replica whose process died", () => {
  it("is taken over as soon as its presence lock is free, long before its lease ends", async () => {
    await using peer = await openReplica(place);
    await using dead = await openReplica(place, { leaseMs: 600_000 });
    const all = await drives(dead, 5);
    expect(await peer.lease.takeOverDead()).toBe(0);
    await killLeaseOf(dead);
    expect(await peer.lease.takeOverDead()).toBe(5);
    for (const writer of all) expect(await ownerOf(place, writer.uuid)).toBeNull();
    expect(await rowOf(dead)).toEqual({ epoch: 2, live: false });
  });

  it("is taken over when its lease ran out, though its connection still stands", async () => {
    await using peer = await openReplica(place);
    await using frozen = await openReplica(place, { leaseMs: 600_000 });
    await drives(frozen, 2);
    await place.pool.query("update replicas set expire_time = clock_timestamp() - interval '1 second' where id = $1", [frozen.lease.replicaId]);
    expect(await peer.lease.takeOverDead()).toBe(2);
    expect(await frozen.lease.renew(frozen.fence.epoch)).toBeUndefined();
  });

  it("is forgotten a day later by the next process that comes, unless it still lives or owns something", async () => {
    await using dead = await openReplica(place);
    await using living = await openReplica(place);
    await using peer = await openReplica(place);
    await killLeaseOf(dead);
    await peer.lease.takeOverDead();
    const aged = [dead, living].map(({ lease }) => lease.replicaId);
    const known = async (): Promise<string[]> => (await place.pool.query("select id from replicas where id = any($1)", [aged])).rows.map(({ id }) => id);
    await using _ = await openReplica(place);
    expect((await known()).sort()).toEqual([...aged].sort());
    await place.pool.query("update replicas set start_time = now() - interval '2 days' where id = any($1)", [aged]);
    await using __ = await openReplica(place);
    expect(await known()).toEqual([living.lease.replicaId]);
  });

  it("is taken over once when many peers try at the same time", async () => {
    await using dead = await openReplica(place);
    const all = await drives(dead, 20);
    const peers = await Promise.all([1, 2, 3, 4].map(() => openReplica(place)));
    await killLeaseOf(dead);
    let freed = 0;
    while (freed === 0) freed = (await Promise.all(peers.map((peer) => peer.lease.takeOverDead()))).reduce((sum, count) => sum + count);
    expect(freed).toBe(all.length);
    expect(await rowOf(dead)).toEqual({ epoch: 2, live: false });
    for (const peer of peers) await peer[Symbol.asyncDispose]();
  });

  it("is left alone when it registered again in the meantime", async () => {
    await using peer = await openReplica(place);
    await using replica = await openReplica(place);
    await killLeaseOf(replica);
    replica.fence = { ...replica.fence, epoch: (await replica.lease.register("again")).epoch };
    expect(await peer.lease.takeOverDead()).toBe(0);
    const [writer] = (await drives(replica, 1)) as [Writer];
    expect(await ownerOf(place, writer.uuid)).toBe(replica.lease.replicaId);
  });

  it("leaves nothing behind when it comes back under its own name before anybody took over", async () => {
    await using replica = await openReplica(place);
    const [writer] = (await drives(replica, 1)) as [Writer];
    await killLeaseOf(replica);
    await replica.lease.register("again");
    // What it drove it has forgotten, so it must be free for a claim: its own or anybody's.
    expect(await ownerOf(place, writer.uuid)).toBeNull();
  });
});

describe("a takeover while a flush of the old owner is under way", () => {
  /** Holds the row of `writer`, so that a flush that changes it stands still in the middle of its statement. */
  async function hold(writer: Writer): Promise<AsyncDisposable & { letGo(): Promise<void> }> {
    const client = await connect(place);
    await client.query("begin");
    await client.query("select from workflow_instances where id = $1 for update", [writer.uuid]);
    const letGo = () => client.end();
    return { letGo, [Symbol.asyncDispose]: letGo };
  }

  it("waits for it, and then frees what it wrote, so that no execution belongs to a dead replica", async () => {
    await using peer = await openReplica(place);
    await using old = await openReplica(place);
    const [writer] = (await drives(old, 1)) as [Writer];
    await using held = await hold(writer);
    const flush = old.journal.append({ ...writer.end(), release: false });
    await until(place, someoneWaits);
    await killLeaseOf(old);
    let freed: number | undefined;
    const takeover = peer.lease.takeOverDead().then((count) => (freed = count));
    const waits = "(select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock') >= 2";
    await Promise.race([takeover, until(place, waits)]);
    expect(freed, "the takeover must wait for the flush").toBeUndefined();
    await held.letGo();
    expect(await flush).toEqual({ kind: "committed" });
    await takeover;
    expect(await ownerOf(place, writer.uuid)).toBeNull();
    expect(await sequencesOf(place, writer.uuid)).toEqual([1, 2, 3]);
  });

  it("goes first when it holds the row first: the flush then writes nothing", async () => {
    await using old = await openReplica(place);
    const [writer] = (await drives(old, 1)) as [Writer];
    const peer = await connect(place);
    await peer.query("begin");
    await peer.query("select from replicas where id = $1 for update", [old.lease.replicaId]);
    await peer.query("update replicas set epoch = epoch + 1 where id = $1", [old.lease.replicaId]);
    const flush = old.journal.append(writer.step("late"));
    await until(place, someoneWaits);
    await peer.query("commit");
    await peer.end();
    expect(await flush).toEqual({ kind: "fenced" });
    expect(await sequencesOf(place, writer.uuid)).toEqual([1, 2]);
  });

  it("does not make a renewal wait for a flush, nor a flush for a renewal", async () => {
    await using replica = await openReplica(place);
    const [writer] = (await drives(replica, 1)) as [Writer];
    await using held = await hold(writer);
    const flush = replica.journal.append({ ...writer.end(), release: false });
    await until(place, someoneWaits);
    expect(await replica.lease.renew(replica.fence.epoch)).toMatchObject({ epoch: 1 });
    await held.letGo();
    expect(await flush).toEqual({ kind: "committed" });
  });
});

describe("storms of takeovers and flushes", () => {
  it("leave every ledger gapless, every acknowledged event in it, and no execution with a dead owner", async () => {
    await using peer = await openReplica(place);
    for (let round = 0; round < 8; round++) {
      const old = await openReplica(place);
      const all = await drives(old, 10);
      const acknowledged = new Map(all.map((writer) => [writer, 2]));
      const write = async (writer: Writer): Promise<void> => {
        for (let step = 0; ; step++) {
          const { kind } = await old.journal.append(writer.step(`s${step}`));
          if (kind !== "committed") return expect(kind).toBe("fenced");
          acknowledged.set(writer, writer.state.sequence);
        }
      };
      const writing = Promise.all(all.map(write));
      await killLeaseOf(old);
      while ((await rowOf(old))?.epoch === 1) await peer.lease.takeOverDead();
      // Whoever takes over reads the ledger now: nothing may be added to it afterwards.
      const taken = new Map<Writer, number[]>();
      for (const writer of all) taken.set(writer, await sequencesOf(place, writer.uuid));
      await writing;
      for (const writer of all) {
        const sequences = await sequencesOf(place, writer.uuid);
        expect(sequences, "nothing is written after the takeover").toEqual(taken.get(writer));
        expect(sequences).toEqual(Array.from({ length: acknowledged.get(writer) ?? 0 }, (_, index) => index + 1));
        expect(await ownerOf(place, writer.uuid)).toBeNull();
      }
      await old[Symbol.asyncDispose]();
    }
  });
});
