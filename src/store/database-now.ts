/** The database's clock for a property of an entity: replicas' clocks may differ, and times of one row are compared. */
import { raw } from "@mikro-orm/postgresql";

/** Start of the transaction. The ORM writes `now()` and puts the moment it became into the entity after the flush. */
export function databaseNow(): Date {
  return raw("now()") as unknown as Date;
}
