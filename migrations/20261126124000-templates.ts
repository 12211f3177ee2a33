import { Migration } from '@mikro-orm/migrations';

/** Templates may bring the plain text that goes with their HTML. */
export class Templates extends Migration {
  override up(): void {
    this.addSql(`alter table "notification_template_version" add column "text" text null`);
  }

  override down(): void {
    this.addSql(`alter table "notification_template_version" drop column "text"`);
  }
}
