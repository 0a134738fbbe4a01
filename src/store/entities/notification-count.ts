/** Notifications of the running hour. Written by plain SQL only; here for the schema. */
import { defineEntity, p } from "@mikro-orm/core";

export const notificationCountSchema = defineEntity({
  name: "NotificationCount",
  tableName: "notification_counts",
  properties: {
    tenantId: p.text().primary(),
    key: p.blob().columnType("bytea").primary(),
    count: p.integer(),
    endTime: p.datetime(3),
  },
});

export class NotificationCount extends notificationCountSchema.class {}
notificationCountSchema.setClass(NotificationCount);
