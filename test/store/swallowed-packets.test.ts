/** A network that swallows packets: no side hears that the other one is gone. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ReplicaLease } from "../../src/store/replica-lease.ts";
import { openProxy, type SwallowingProxy } from "../support/swallowing-proxy.ts";
import { openPlace, openReplica, ownerOf, type Place, type Replica, sequencesOf, until, Writer } from "./journal-fixture.ts";

const answerMs = 500;
const committed = { kind: "committed" };
let place: Place;
let proxy: SwallowingProxy;
beforeEach(async () => {
  place = await openPlace();
  proxy = await openProxy(place.database.connection);
});
afterEach(async () => {
  await proxy[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

const through = () => ({ ...place.database.connection, host: "127.0.0.1", port: proxy.port });
/** One whose journal goes through the proxy; its lease does not. */
const swallowed = (): Promise<Replica> => openReplica(place, { journal: { connection: through(), answerMs, flightsMax: 1 } });
const pids = async (): Promise<number[]> =>
  (await place.pool.query("select pid from pg_stat_activity where datname = current_database() and application_name = 'pawf-journal'")).rows.map(
    ({ pid }) => pid,
  );

describe("a journal", () => {
  it("finds on a new connection that a write whose answer was swallowed is committed", async () => {
    await using replica = await swallowed();
    const writer = new Writer();
    await replica.journal.append(writer.start());
    proxy.swallow("server");
    expect(await replica.journal.append(writer.step("a"))).toEqual(committed);
    expect(await replica.journal.append(writer.step("b"))).toEqual(committed);
    expect(await sequencesOf(place, writer.uuid)).toEqual([1, 2, 3, 4]);
  });

  it("writes again what never arrived, after it ended the session that it could still arrive at", async () => {
    await using replica = await swallowed();
    const writer = new Writer();
    await replica.journal.append(writer.start());
    const [before] = await pids();
    proxy.swallow("client");
    expect(await replica.journal.append(writer.step("a"))).toEqual(committed);
    expect(await replica.journal.append(writer.park(Date.now() + 3_600_000))).toEqual(committed);
    expect(await pids()).not.toContain(before);
    expect(await sequencesOf(place, writer.uuid)).toEqual([1, 2, 3]);
  });

  it("lets go of an execution once: a release that was swallowed does nothing when it arrives after the execution was claimed again", async () => {
    await using replica = await swallowed();
    const writer = new Writer();
    await replica.journal.append(writer.start());
    proxy.swallow("client");
    expect(await replica.journal.append(writer.park(Date.now()))).toEqual(committed);
    expect(await ownerOf(place, writer.uuid)).toBe(null);
    await place.pool.query("update workflow_executions set owner = $1 where id = $2", [replica.lease.replicaId, writer.uuid]);
    proxy.deliver();
    // Through the same proxy and later than what was held back, as far as anything of it could go.
    expect(await replica.journal.append(writer.step("a"))).toEqual(committed);
    await until(place, "(select count(*) from pg_stat_activity where datname = current_database() and application_name = 'pawf-journal') = 1");
    expect(await ownerOf(place, writer.uuid)).toBe(replica.lease.replicaId);
  });
});

describe("a lease", () => {
  const leaseThrough = (): ReplicaLease => new ReplicaLease({ replicaId: randomUUID(), connection: through(), leaseMs: 60_000, answerMs: 2_000 });

  it("whose renewal is not answered is told so in time, and is held anew though its old session still had the presence lock", async () => {
    const lease = leaseThrough();
    const { epoch } = await lease.register("here");
    proxy.swallow("both");
    await expect(lease.renew(epoch)).rejects.toThrow("did not answer");
    expect(await lease.renew(epoch)).toBeUndefined();
    // On a slow machine an answer may be late, which is no reason to give up.
    await expect.poll(async () => lease.renew((await lease.register("here")).epoch), { timeout: 60_000 }).toBeDefined();
    await lease.close();
  });

  it("does not wait for ever for its peers, nor leave a lock of a takeover behind", async () => {
    const lease = leaseThrough();
    await lease.register("here");
    await using dead = await openReplica(place, { leaseMs: 1 });
    await until(place, "(select expire_time < clock_timestamp() from replicas where id = $1)", [dead.lease.replicaId]);
    expect(await lease.livePeers()).toEqual([]);
    proxy.swallow("server");
    await expect(lease.takeOverDead()).rejects.toThrow();
    await expect.poll(() => lease.takeOverDead(), { timeout: 60_000 }).toBeGreaterThanOrEqual(0);
    await until(place, "(select expire_time = '-infinity' from replicas where id = $1)", [dead.lease.replicaId]);
    await lease.close();
  });
});
