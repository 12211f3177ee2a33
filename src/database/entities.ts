import { AuditEventEntity } from '../audit/audit-event.entity.ts';
import { AuditRelayEntity } from '../audit/audit-relay.entity.ts';
import { SandboxMessageEntity } from '../channels/sandbox-message.entity.ts';
import { DeliveryRateEntity } from '../delivery/delivery-rate.entity.ts';
import { DeliveryStatisticDeltaEntity, DeliveryStatisticEntity } from '../delivery/statistics.entity.ts';
import {
  DeliveryAttemptEntity,
  EventIdempotencyEntity,
  NotificationLogEntity,
  NotificationLogKeyEntity,
} from '../delivery/notification-log.entity.ts';
import { DispatcherInstanceEntity } from '../delivery/dispatcher-instance.entity.ts';
import { ProviderCircuitEntity } from '../delivery/provider-circuit.entity.ts';
import { InboxEntity, NotificationEntity } from '../inbox/notification.entity.ts';
import { PolicyDefinitionEntity } from '../inbox/policy-definition.entity.ts';
import { ConnectedClientEntity, LiveInstanceEntity } from '../live/connected-client.entity.ts';
import { TokenRevocationEntity } from '../identity/token-revocation.entity.ts';
import { NotificationPreferenceEntity, RecipientProfileEntity } from '../preferences/preference.entity.ts';
import { SuppressionEntity } from '../preferences/suppression.entity.ts';
import { ErasureEntity, PrivacyJobEntity } from '../privacy/erasure.entity.ts';
import { RejectedEventEntity } from '../intake/rejected-event.entity.ts';
import { NotificationTemplateEntity, NotificationTemplateVersionEntity } from '../templates/template.entity.ts';
import { ChannelConfigEntity } from '../tenants/channel-config.entity.ts';
import { TenantSettingsEntity } from '../tenants/tenant-settings.entity.ts';

/** Entities of all tables. A test compares them with the migrations. */
export const entities = [
  AuditEventEntity,
  AuditRelayEntity,
  ChannelConfigEntity,
  ConnectedClientEntity,
  DeliveryAttemptEntity,
  DeliveryRateEntity,
  DeliveryStatisticDeltaEntity,
  DeliveryStatisticEntity,
  DispatcherInstanceEntity,
  ErasureEntity,
  EventIdempotencyEntity,
  InboxEntity,
  LiveInstanceEntity,
  NotificationEntity,
  NotificationLogEntity,
  NotificationLogKeyEntity,
  NotificationPreferenceEntity,
  NotificationTemplateEntity,
  NotificationTemplateVersionEntity,
  PolicyDefinitionEntity,
  PrivacyJobEntity,
  ProviderCircuitEntity,
  RecipientProfileEntity,
  RejectedEventEntity,
  SandboxMessageEntity,
  SuppressionEntity,
  TenantSettingsEntity,
  TokenRevocationEntity,
];
