export { AlarmsProps, CancelAlarms, CancelAlarmsProps, Thresholds } from './cancel-alarms';
export { CancelApi, CancelApiProps } from './cancel-api';
export { CancelTables, CancelTablesProps } from './cancel-tables';
export { PaymentCanceledEvents, PaymentCanceledEventsProps } from './payment-canceled';
export { Provider, ROUTES } from './providers';
