export { CancelApi, CancelApiProps } from './cancel-api';
export { CancelTables, CancelTablesProps } from './cancel-tables';
export { Provider, ROUTES } from './providers';
