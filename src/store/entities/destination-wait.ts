/** An execution that waits for a participant to answer again. Written by plain SQL only; here for the schema. */
import { defineEntity, p } from "@mikro-orm/core";

export const destinationWaitSchema = defineEntity({
  name: "DestinationWait",
  tableName: "destination_waits",
  indexes: [{ name: "destination_waits_until_idx", properties: ["untilTime"] }],
  properties: {
    tenantId: p.text().primary(),
    destination: p.text().primary(),
    executionId: p.uuid().primary(),
    untilTime: p.datetime(3),
  },
});

export class DestinationWait extends destinationWaitSchema.class {}
destinationWaitSchema.setClass(DestinationWait);
