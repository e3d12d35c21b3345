/**
 * What Grafana's application gives to its libraries: services, registries, and the Prometheus data source.
 */
import {
  DataQueryRequest,
  DataSourceApi,
  EventBusSrv,
  FieldConfigPropertyItem,
  LoadingState,
  PanelData,
  createTheme,
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  identityOverrideProcessor,
  numberOverrideProcessor,
  standardEditorsRegistry,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
  stringOverrideProcessor,
  thresholdsOverrideProcessor,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from '@grafana/data';
import { PrometheusDatasource } from '@grafana/prometheus';
import {
  config,
  setAppEvents,
  setBackendSrv,
  setDataSourceSrv,
  setEchoSrv,
  setPluginImportUtils,
  setPluginLinksHook,
  setRunRequest,
  setTemplateSrv,
} from '@grafana/runtime';
import { sceneGraph } from '@grafana/scenes';
import { Observable, catchError, map, of, startWith } from 'rxjs';

import { fetch } from './backend';
import { harness } from './harness';

const UID = 'prometheus';

const settings: any = {
  id: 1,
  uid: UID,
  type: 'prometheus',
  name: 'Prometheus',
  access: 'proxy',
  url: `/api/datasources/proxy/uid/${UID}`,
  isDefault: true,
  jsonData: { httpMethod: 'GET' },
  meta: { id: 'prometheus', name: 'Prometheus', info: { logos: { small: 'data:,', large: 'data:,' } } },
};

/** Give the libraries all that they ask Grafana's application for. */
export function setUp() {
  config.theme2 = createTheme({ colors: { mode: harness.theme } });
  config.bootData.user.lightTheme = harness.theme === 'light';
  const appEvents = new EventBusSrv();
  appEvents.subscribe({ type: 'alert-error' } as any, (event: any) => console.error('alert', event.payload));
  setAppEvents(appEvents);
  setEchoSrv({ flush() {}, addBackend() {}, addEvent() {} } as any);
  setPluginLinksHook((() => ({ links: [], isLoading: false })) as any);
  setBackendSrv({ fetch } as any);
  setTemplateSrv({ replace, containsTemplate: () => false, getVariables: () => [] } as any);
  const source = new PrometheusDatasource(settings);
  (source as any).meta = settings.meta;
  setDataSourceSrv({
    get: async (reference: any, scoped: any) => chosen(reference, scoped, source),
    getInstanceSettings: (reference: any, scoped: any) => chosen(reference, scoped, settings),
    getList: () => [settings],
  } as any);
  setRunRequest(runRequest as any);
  setPluginImportUtils({
    getPanelPluginFromCache: () => undefined,
    importPanelPlugin: async (id: string) => {
      throw new Error(`there is no panel of type ${id} here`);
    },
  } as any);
  standardTransformersRegistry.setInit(transformers as any);
  standardFieldConfigEditorRegistry.setInit(properties as any);
  standardEditorsRegistry.setInit(() => []);
}

/** The text with the values of variables, as the object of the scene that asks knows them. */
function replace(text?: string, scoped?: any, format?: any): string {
  const asking = scoped?.__sceneObject?.value?.valueOf() ?? (window as any).__grafanaSceneContext;
  return asking ? sceneGraph.interpolate(asking, text, scoped, format) : (text ?? '');
}

function chosen<T>(reference: any, scoped: any, found: T): T {
  const uid = replace(typeof reference === 'string' ? reference : reference?.uid, scoped);
  if (uid !== UID && uid !== '') {
    throw new Error(`there is no data source ${uid} here`);
  }
  return found;
}

/** The queries of variables come with a function of their own. */
function runRequest(
  source: DataSourceApi,
  request: DataQueryRequest,
  query: (request: DataQueryRequest) => any = (given) => source.query(given)
): Observable<PanelData> {
  const common = { request, timeRange: request.range };
  return (query(request) as Observable<any>).pipe(
    map((said) => ({
      ...common,
      series: said.data,
      state: said.state ?? LoadingState.Done,
      errors: said.errors ?? (said.error ? [said.error] : undefined),
    })),
    catchError((error) =>
      of({ ...common, series: [], state: LoadingState.Error, errors: [{ message: String(error) }] })
    ),
    startWith({ ...common, series: [], state: LoadingState.Loading })
  ) as any;
}

function transformers() {
  // Some come twice, with the same id.
  const byId = new Map(Object.values(standardTransformers).map((one: any) => [one.id, one]));
  return [...byId.values()].map((one) => ({
    id: one.id,
    name: one.name,
    description: one.description,
    transformation: one,
    editor: () => null,
  }));
}

const nothing = () => null;

/** A property of fields; only those that are registered are taken from a dashboard. */
export function property(id: string, process: any = identityOverrideProcessor, more = {}): FieldConfigPropertyItem {
  const common = { id, path: id, name: id, editor: nothing, override: nothing, shouldApply: () => true };
  return { ...common, process, ...more } as any;
}

function properties() {
  return [
    property('displayName', displayNameOverrideProcessor, { settings: { expandTemplateVars: true } }),
    property('unit', unitOverrideProcessor),
    property('min', numberOverrideProcessor),
    property('max', numberOverrideProcessor),
    property('decimals', numberOverrideProcessor),
    property('noValue', stringOverrideProcessor),
    property('color'),
    property('links', dataLinksOverrideProcessor),
    property('mappings', valueMappingsOverrideProcessor),
    property('thresholds', thresholdsOverrideProcessor),
    property('filterable'),
  ];
}
