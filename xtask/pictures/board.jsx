// A dashboard, drawn by the components that Grafana itself is made of (@grafana/ui). There is no Grafana server in it: the
// numbers are those that Prometheus gave to the dashboard's queries, put into the page as `window.board`.

import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';
import React from 'react';
import { createRoot } from 'react-dom/client';
import { createTheme, dateTime, FieldType, getDisplayProcessor, reduceField } from '@grafana/data';
import { BarGauge, BigValue, PanelChrome, ThemeContext, TimeSeries } from '@grafana/ui';

const COLUMN = 64;
const ROW = 30;
const GAP = 8;

const theme = createTheme({ colors: { mode: 'dark' } });
const { json, results, from, to, step } = window.board;
const timeRange = {
  from: dateTime(from * 1000),
  to: dateTime(to * 1000),
  raw: { from: dateTime(from * 1000), to: dateTime(to * 1000) },
};

// What Grafana takes where a panel says nothing.
const LINES = {
  axisPlacement: 'auto',
  drawStyle: 'line',
  gradientMode: 'none',
  lineInterpolation: 'linear',
  lineStyle: { fill: 'solid' },
  pointSize: 5,
  scaleDistribution: { type: 'linear' },
  showPoints: 'auto',
  thresholdsStyle: { mode: 'off' },
};

function nameOf(legend, labels) {
  return legend.replace(/\{\{(\w+)\}\}/g, (_, label) => labels[label] ?? '');
}

function configOf(panel, name) {
  const { defaults, overrides } = panel.fieldConfig;
  const config = { ...defaults, displayName: name || undefined, custom: { ...LINES, ...defaults.custom } };
  for (const { matcher, properties } of overrides ?? []) {
    if (matcher.id === 'byName' && matcher.options === name) {
      for (const { id, value } of properties) {
        if (id.startsWith('custom.')) config.custom[id.slice('custom.'.length)] = value;
        else config[id] = value;
      }
    }
  }
  return config;
}

// Where a series has no sample there is a gap, as Grafana makes one.
function everyStep(samples, step) {
  return samples.flatMap((sample, index) => {
    const next = samples[index + 1];
    return next && next[0] - sample[0] > 1.5 * step ? [sample, [sample[0] + step, 'NaN']] : [sample];
  });
}

// One frame for each series of each query.
function framesOf(panel) {
  const frames = [];
  for (const target of panel.targets) {
    for (const series of results[`${panel.id}${target.refId}`]) {
      const name = nameOf(target.legendFormat ?? '', series.metric);
      const samples = everyStep(series.values ?? [series.value], step);
      const times = samples.map(([time]) => time * 1000);
      const values = samples.map(([, value]) => (value === 'NaN' ? null : Number(value)));
      const field = { name: name || panel.title, type: FieldType.number, values, labels: {}, config: configOf(panel, name) };
      field.state = { seriesIndex: frames.length, displayName: field.name };
      field.display = getDisplayProcessor({ field, theme });
      frames.push({
        fields: [{ name: 'time', type: FieldType.time, values: times, config: {} }, field],
        length: times.length,
      });
    }
  }
  return frames;
}

function lastOf(panel, frame) {
  const [, field] = frame.fields;
  const value = reduceField({ field, reducers: ['lastNotNull'] }).lastNotNull;
  const shown = field.display(value);
  return { ...shown, title: field.name === panel.title ? undefined : field.name };
}

function Stat({ panel, width, height }) {
  const frames = framesOf(panel);
  const noValue = panel.fieldConfig.defaults.noValue ?? 'No data';
  const value = frames.length ? lastOf(panel, frames[0]) : { text: noValue, numeric: 0, color: theme.colors.text.primary };
  return <BigValue theme={theme} value={value} width={width} height={height} colorMode="value" graphMode="none" justifyMode="auto" textMode="value" />;
}

function Bars({ panel, width, height }) {
  const frames = framesOf(panel);
  const values = frames.map((frame) => lastOf(panel, frame)).sort((a, b) => b.numeric - a.numeric);
  const max = Math.max(1, ...values.map((value) => value.numeric));
  const each = Math.min(48, Math.floor((height - GAP) / Math.max(1, values.length)));
  return values.map((value) => {
    const field = { ...frames[0].fields[1].config, min: 0, max };
    const display = getDisplayProcessor({ field: { type: FieldType.number, config: field, values: [0, max] }, theme });
    return (
      <div key={value.title} style={{ height: each }}>
        <BarGauge theme={theme} width={width} height={each - 8} value={{ ...display(value.numeric), title: value.title }} field={field}
          display={display} orientation="horizontal" displayMode="gradient" showUnfilled itemSpacing={8} lcdCellWidth={12}
          alignmentFactors={{ title: values.reduce((a, b) => (a.title.length > b.title.length ? a : b)).title, text: String(Math.round(max)) }} />
      </div>
    );
  });
}

function Lines({ panel, width, height }) {
  const frames = framesOf(panel);
  if (!frames.length) return <div className="empty">No data</div>;
  return <TimeSeries frames={frames} structureRev={1} width={width} height={height} timeRange={timeRange} timeZone="utc" legend={panel.options.legend} />;
}

// @grafana/ui has no timeline of states: drawn here, in the panel's own colours and words.
function States({ panel, width, height }) {
  const frames = framesOf(panel);
  const row = Math.min(44, (height - 24) / Math.max(1, frames.length));
  const seconds = to - from;
  const mapped = panel.fieldConfig.defaults.mappings[0].options;
  const whole = 1000 * seconds;
  // Where a state begins, up to where the next one does.
  const changes = (field) => field.values.map((_, index) => index).filter((index) => field.values[index] !== field.values[index - 1]);
  return (
    <div style={{ width, fontSize: 12 }}>
      {frames.map(({ fields: [time, field] }) => (
        <div key={field.name} style={{ height: row, display: 'flex', alignItems: 'center' }}>
          <div style={{ width: 120, color: theme.colors.text.secondary }}>{field.name}</div>
          <div style={{ position: 'relative', flex: 1, height: row * 0.8 }}>
            {changes(field).map((index, place, all) => {
              const [at, until] = [time.values[index], time.values[all[place + 1]] ?? to * 1000];
              const state = mapped[field.values[index]];
              const left = `${(100 * (at - from * 1000)) / whole}%`;
              const wide = `${(100 * (until - at)) / whole}%`;
              return <div key={at} style={{ position: 'absolute', left, width: wide, height: '100%', opacity: 0.7, background: theme.visualization.getColorByName(state.color) }} />;
            })}
          </div>
        </div>
      ))}
      <div style={{ display: 'flex', gap: 16, marginLeft: 120 }}>
        {Object.values(mapped).map(({ text, color }) => (
          <span key={text}><span style={{ display: 'inline-block', width: 14, height: 4, marginRight: 6, background: theme.visualization.getColorByName(color) }} />{text}</span>
        ))}
      </div>
    </div>
  );
}

const KINDS = { stat: Stat, bargauge: Bars, timeseries: Lines, 'state-timeline': States };

function Panel({ panel }) {
  const { x, y, w, h } = panel.gridPos;
  const place = { position: 'absolute', left: x * COLUMN, top: y * (ROW + GAP), width: w * COLUMN - GAP };
  if (panel.type === 'row') {
    return <div style={{ ...place, height: ROW, lineHeight: `${ROW}px`, fontWeight: 500, fontSize: 16 }}>⌄ {panel.title}</div>;
  }
  const Kind = KINDS[panel.type];
  const height = h * (ROW + GAP) - GAP;
  return (
    <div style={{ ...place, height }}>
      <PanelChrome title={panel.title} description={panel.description} width={place.width} height={height}>
        {(innerWidth, innerHeight) => <Kind panel={panel} width={innerWidth} height={innerHeight} />}
      </PanelChrome>
    </div>
  );
}

function Board() {
  const bottom = Math.max(...json.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  const variables = json.templating.list.filter(({ type }) => type === 'query');
  return (
    <ThemeContext.Provider value={theme}>
      <header>
        <h1>{json.title}</h1>
        {variables.map(({ name, label }) => <span key={name} className="variable">{label ?? name} <b>All</b></span>)}
      </header>
      <main style={{ position: 'relative', width: 24 * COLUMN, height: bottom * (ROW + GAP) }}>
        {json.panels.map((panel) => <Panel key={panel.id} panel={panel} />)}
      </main>
    </ThemeContext.Provider>
  );
}

createRoot(document.getElementById('root')).render(<Board />);
