import { Migration } from '@mikro-orm/migrations';

/** What the body of an email became, with its layout and partials and as HTML, when its version was made. */
export class Email extends Migration {
  override up(): void {
    this.addSql(`alter table "notification_template_version" add column "page" text null`);
  }

  override down(): void {
    this.addSql(`alter table "notification_template_version" drop column "page"`);
  }
}
