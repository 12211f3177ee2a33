import { Migration } from '@mikro-orm/migrations';

/** Adds version numbers to configurations, to detect concurrent changes. */
export class Settings extends Migration {
  override up(): void {
    this.addSql(`alter table "channel_config" add column "version" int not null default 1`);
  }

  override down(): void {
    this.addSql(`alter table "channel_config" drop column "version"`);
  }
}
