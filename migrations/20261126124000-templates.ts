import { Migration } from '@mikro-orm/migrations';

/** Adds the plain-text alternative of HTML templates. */
export class Templates extends Migration {
  override up(): void {
    this.addSql(`alter table "notification_template_version" add column "text" text null`);
  }

  override down(): void {
    this.addSql(`alter table "notification_template_version" drop column "text"`);
  }
}
