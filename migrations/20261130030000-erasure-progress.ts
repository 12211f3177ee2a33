import { Migration } from '@mikro-orm/migrations';

/** Adds the progress of an erasure through the rejected events. */
export class ErasureProgress extends Migration {
  override up(): void {
    this.addSql(`alter table "erasure" add column "rejected_cursor" uuid null;`);
  }

  override down(): void {
    this.addSql(`alter table "erasure" drop column "rejected_cursor";`);
  }
}
