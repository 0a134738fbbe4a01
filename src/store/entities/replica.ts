/** A server process: its lease and the fence (epoch) of everything it writes. Written by plain SQL only; here for the schema. */
import { defineEntity, p } from "@mikro-orm/core";

export const replicaSchema = defineEntity({
  name: "Replica",
  tableName: "replicas",
  properties: {
    id: p.uuid().primary(),
    epoch: p.bigint("number").defaultRaw("1"),
    presenceKey: p.bigint("number"),
    address: p.text().default(""),
    startTime: p.datetime(3).defaultRaw("now()"),
    expireTime: p.datetime(6),
  },
});

export class Replica extends replicaSchema.class {}
replicaSchema.setClass(Replica);
