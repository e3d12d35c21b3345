/** A scene of the JSON of a dashboard. */
import {
  ConstantVariable,
  CustomVariable,
  DataSourceVariable,
  EmbeddedScene,
  QueryVariable,
  SceneDataTransformer,
  SceneGridItem,
  SceneGridLayout,
  SceneGridRow,
  SceneQueryRunner,
  SceneReactObject,
  SceneRefreshPicker,
  SceneTimePicker,
  SceneTimeRange,
  SceneVariable,
  SceneVariableSet,
  TextBoxVariable,
  VariableValueSelectors,
  VizPanel,
} from '@grafana/scenes';

import { harness } from './harness';
import { Links } from './links';

/** The first of the controls are the variables. */
export function scene(dashboard: any): EmbeddedScene {
  return new EmbeddedScene({
    $timeRange: new SceneTimeRange({ ...dashboard.time, timeZone: 'utc' }),
    $variables: new SceneVariableSet({ variables: dashboard.templating.list.map(variable) }),
    controls: [
      new VariableValueSelectors({}),
      new SceneReactObject({ component: Links, props: { links: dashboard.links ?? [] } }),
      new SceneTimePicker({ isOnCanvas: true }),
      new SceneRefreshPicker({ isOnCanvas: true, withText: false }),
    ],
    body: new SceneGridLayout({ isDraggable: false, isResizable: false, children: children(dashboard) }),
  });
}

function variable(json: any): SceneVariable {
  const chosen = harness.chosen[json.name];
  const value = chosen ?? json.current?.value;
  const common = {
    name: json.name,
    label: json.label,
    description: json.description,
    hide: json.hide,
    ...(value === undefined ? {} : { value, text: chosen ?? json.current?.text }),
  };
  const several = {
    allValue: json.allValue,
    allowCustomValue: json.allowCustomValue,
    defaultToAll: json.includeAll,
    includeAll: json.includeAll,
    isMulti: json.multi,
  };
  switch (json.type) {
    case 'datasource':
      return new DataSourceVariable({ ...common, pluginId: json.query });
    case 'query':
      return new QueryVariable({
        ...common,
        ...several,
        datasource: json.datasource,
        query: json.query,
        refresh: json.refresh,
        regex: json.regex,
        sort: json.sort,
      });
    case 'custom':
      return new CustomVariable({ ...common, ...several, query: json.query });
    case 'textbox':
      return new TextBoxVariable({ ...common, value: chosen ?? json.query });
    case 'constant':
      return new ConstantVariable({ ...common, value: chosen ?? json.query });
    default:
      throw new Error(`variables of type ${json.type} are not known here`);
  }
}

/** The panels at their places. A row's heading has the panels that stand below it, up to the next heading. */
function children(dashboard: any) {
  const top: Array<SceneGridItem | SceneGridRow> = [];
  let row: SceneGridRow | undefined;
  for (const json of dashboard.panels) {
    const { x, y, w: width, h: height } = json.gridPos;
    if (json.type === 'row') {
      const below = (json.panels ?? []).map((one: any) => item(one, one.gridPos));
      row = new SceneGridRow({ title: json.title, isCollapsed: json.collapsed ?? false, y, children: below });
      top.push(row);
    } else if (row === undefined) {
      top.push(item(json, { x, y, w: width, h: height }));
    } else {
      row.setState({ children: [...row.state.children, item(json, json.gridPos)] });
    }
  }
  return top;
}

function item(json: any, { x, y, w: width, h: height }: any) {
  return new SceneGridItem({ x, y, width, height, body: panel(json) });
}

function panel(json: any): VizPanel {
  const queries = new SceneQueryRunner({
    datasource: json.datasource,
    maxDataPoints: json.maxDataPoints ?? undefined,
    minInterval: json.interval,
    queries: json.targets ?? [],
  });
  return new VizPanel({
    key: `panel-${json.id}`,
    $data:
      json.type === 'text'
        ? undefined
        : new SceneDataTransformer({ $data: queries, transformations: json.transformations ?? [] }),
    description: json.description,
    displayMode: json.transparent ? 'transparent' : 'default',
    fieldConfig: json.fieldConfig,
    options: json.options,
    pluginId: json.type,
    title: json.title,
  });
}
