//! Plain near cache hits, each answered in one call from Granian's objects to the sent answer.
//! Tables and rules are Python's (`service/api/plain_hits.py`); here they are applied.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::hit_records::{Count, HotCollection, Section, Skips, Stored, Verified};
use crate::ids::parse_id;
use crate::lease::Lease;
use crate::section_table::{SectionAndTags, SectionTable};

const ID_CHARACTERS: usize = 26;

/// One worker's; see the Python class of the same name.
#[derive(FromPyObject)]
struct Tables {
    collections: Py<PyDict>,
    sections: Py<SectionTable>,
    tokens: Py<PyDict>,
    quotas: Py<PyDict>,
    near: Py<PyDict>,
    last_seen: Py<PyDict>,
    rate: Py<PyAny>,
    passed: Py<Count>,
    from_near: Py<Count>,
    log: Py<Skips>,
    draining: Py<PyAny>,
    max_bytes: usize,
    now_s: Py<PyAny>,
    clock: Py<PyAny>,
}

/// Who asks for what.
struct Request<'py> {
    hot: Bound<'py, HotCollection>,
    verified: Bound<'py, Verified>,
    item_id: Bound<'py, PyBytes>,
    parsed: Bound<'py, PyTuple>,
    /// The value of If-None-Match.
    tags: Option<Bound<'py, PyString>>,
}

/// The fields and body of an answer that only has to be sent; without a body it is 304.
type Ready<'py> = (Bound<'py, PyAny>, Option<Bound<'py, PyBytes>>);

/// See the stub.
#[pyclass(frozen)]
pub struct PlainHits {
    tables: Tables,
    done: Py<PyAny>,
    in_python: Py<PyAny>,
}

#[pymethods]
impl PlainHits {
    #[new]
    fn new(tables: Tables, done: Py<PyAny>, in_python: Py<PyAny>) -> Self {
        Self {
            tables,
            done,
            in_python,
        }
    }

    fn answer<'py>(
        &self,
        py: Python<'py>,
        scope: &Bound<'py, PyAny>,
        exchange: &Bound<'py, PyAny>,
        general: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let began_s = seconds(py, &self.tables.clock)?;
        let request = self.tables.request(py, scope)?;
        if let Some(request) = &request
            && let Some(ready) = self.tables.ready(py, request, began_s)?
            && self.tables.spend(py, request.verified.get(), began_s)?
        {
            self.tables.send(py, request, ready, exchange, began_s)?;
            return Ok(self.done.bind(py).clone());
        }
        // The tags of a condition are for Python to parse, so it has to begin anew with them.
        let known = request.filter(|known| known.tags.is_none()).map(|known| {
            let caller = known.verified.get().caller.clone_ref(py);
            (known.hot, caller, known.item_id, known.parsed)
        });
        let in_python = self.in_python.bind(py);
        in_python.call1((scope, exchange, general, began_s, known))
    }
}

impl Tables {
    /// The request, if its section is remembered, its token verified and the reading allowed.
    fn request<'py>(
        &self,
        py: Python<'py>,
        scope: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Request<'py>>> {
        let path = scope
            .getattr(intern!(py, "path"))?
            .cast_into::<PyString>()?;
        let Ok(path) = path.to_str() else {
            return Ok(None);
        };
        let end = path.len().checked_sub(ID_CHARACTERS);
        let Some((prefix, id)) = end.and_then(|end| path.split_at_checked(end)) else {
            return Ok(None);
        };
        let Some(hot) = self.collections.bind(py).get_item(prefix)? else {
            return Ok(None);
        };
        if scope.getattr(intern!(py, "query_string"))?.is_truthy()? {
            return Ok(None);
        }
        let Some((section, tags)) = self.section(py, scope)? else {
            return Ok(None);
        };
        let section = section.borrow();
        let (Some(parsed), Some(verified), Some(item_id)) = (
            &section.parsed,
            self.verified(py, &section)?,
            parse_id(py, id),
        ) else {
            return Ok(None);
        };
        let hot = hot.cast_into::<HotCollection>()?;
        if !hot.borrow().allows(py, verified.get())? {
            return Ok(None);
        }
        Ok(Some(Request {
            hot,
            verified,
            item_id,
            parsed: parsed.bind(py).clone(),
            tags,
        }))
    }

    fn section<'py>(
        &self,
        py: Python<'py>,
        scope: &Bound<'py, PyAny>,
    ) -> PyResult<Option<SectionAndTags<'py>>> {
        let headers = scope.getattr(intern!(py, "headers"))?;
        let lines = headers.call_method0(intern!(py, "items"))?;
        let lines = lines.cast_into::<PyList>()?;
        // Unequal if a field is not ASCII, because Granian leaves it out of the items.
        if headers.len()? != lines.len() {
            return Ok(None);
        }
        self.sections.borrow_mut(py).find_without_tags(py, &lines)
    }

    fn verified<'py>(
        &self,
        py: Python<'py>,
        section: &Section,
    ) -> PyResult<Option<Bound<'py, Verified>>> {
        let Some(known) = self.tokens.bind(py).get_item(&section.token)? else {
            return Ok(None);
        };
        let known = known.cast_into::<Verified>()?;
        let is_good = seconds(py, &self.now_s)? < known.get().good_until_s;
        Ok(is_good.then_some(known))
    }

    /// The answer for this caller, if the near cache has the item and it was made before.
    fn ready<'py>(
        &self,
        py: Python<'py>,
        request: &Request<'py>,
        now_s: f64,
    ) -> PyResult<Option<Ready<'py>>> {
        let Some(held) = self.near.bind(py).get_item(&request.item_id)? else {
            return Ok(None);
        };
        let ends_s: f64 = held.get_item(0)?.extract()?;
        let stored = held.get_item(1)?.cast_into::<Stored>()?;
        let stored = stored.get();
        let may = request.hot.borrow().may_show(stored);
        if ends_s <= now_s || !may || stored.is_of(py, request.verified.get())? {
            return Ok(None);
        }
        if let Some(known) = self.last_seen.bind(py).get_item(&request.item_id)?
            && stored.stamp < known.get_item(0)?.extract()?
        {
            return Ok(None);
        }
        let Some(prepared) = stored.prepared(&request.parsed)? else {
            return Ok(None);
        };
        let body = prepared.get_item(2)?.cast_into::<PyBytes>()?;
        let too_large = body.as_bytes().len() > self.max_bytes;
        if too_large || self.draining.bind(py).call0()?.is_truthy()? {
            return Ok(None);
        }
        let Some(tags) = &request.tags else {
            return Ok(Some((prepared.get_item(1)?, Some(body))));
        };
        // Only the very tag of this representation, because other conditions need parsing.
        let validators = prepared.get_item(0)?;
        let is_same = validators.get_item(0)?.get_item(1)?.eq(tags)?;
        Ok(is_same.then_some((validators, None)))
    }

    /// Whether a token was spent.
    fn spend(&self, py: Python<'_>, verified: &Verified, now_s: f64) -> PyResult<bool> {
        let Some(lease) = self.quotas.bind(py).get_item(&verified.limit_key)? else {
            return Ok(false);
        };
        let own = (!verified.rate.is_none(py)).then_some(&verified.rate);
        let rate = own.unwrap_or(&self.rate);
        let lease = lease.cast_into::<Lease>()?;
        let mut lease = lease.borrow_mut();
        Ok(lease.rate.is(rate) && lease.spend(now_s))
    }

    fn send<'py>(
        &self,
        py: Python<'py>,
        request: &Request<'py>,
        (fields, body): Ready<'py>,
        exchange: &Bound<'py, PyAny>,
        began_s: f64,
    ) -> PyResult<()> {
        self.passed.borrow_mut(py).value += 1.0;
        self.from_near.borrow_mut(py).value += 1.0;
        let (status, bytes) = if let Some(body) = body {
            let bytes = body.as_bytes().len();
            let whole = (200, fields, body);
            exchange.call_method1(intern!(py, "response_bytes"), whole)?;
            (200, bytes)
        } else {
            exchange.call_method1(intern!(py, "response_empty"), (304, fields))?;
            (304, 0)
        };
        let answers = request.hot.borrow().answers.clone_ref(py);
        let took_s = seconds(py, &self.clock)? - began_s;
        if self.log.borrow_mut(py).skips(took_s) {
            answers.get().count(py, status, bytes, took_s);
            return Ok(());
        }
        let key = &request.verified.get().limit_key;
        let sent = (status, bytes, "near", key, began_s);
        answers.call_method1(py, "sent", sent).map(drop)
    }
}

fn seconds(py: Python<'_>, clock: &Py<PyAny>) -> PyResult<f64> {
    clock.bind(py).call0()?.extract()
}

#[cfg(test)]
mod tests {
    use super::{Count, PlainHits, SectionTable, Skips};
    use pyo3::Python;
    use pyo3::prelude::*;
    use pyo3::types::PyDict;

    /// Python code with what the tables of a worker need, all of it empty.
    const WORLD: &std::ffi::CStr = c"
from types import SimpleNamespace as Any
tables = Any(
    collections={}, sections=table, tokens={}, quotas={}, near={}, last_seen={}, rate=None,
    passed=count, from_near=count, log=skips, draining=bool, max_bytes=1, now_s=float, clock=float,
)
in_python = lambda *arguments: arguments
odd = Any(path='/\\ud800' + 26 * '0')
short, other = Any(path='/v1'), Any(path='/v1/items/' + 26 * '0')
";

    #[test]
    fn what_is_unknown_is_passed_on() {
        Python::initialize();
        Python::attach(|py| {
            let names = PyDict::new(py);
            let set = |name: &str, value: Bound<'_, PyAny>| names.set_item(name, value).unwrap();
            set(
                "count",
                Bound::new(py, Count::default()).unwrap().into_any(),
            );
            set(
                "skips",
                Bound::new(py, Skips::default()).unwrap().into_any(),
            );
            let table = SectionTable::new().unwrap();
            set("table", Bound::new(py, table).unwrap().into_any());
            py.run(WORLD, Some(&names), None).unwrap();
            let get = |name: &str| names.get_item(name).unwrap().unwrap();
            let tables = get("tables").extract().unwrap();
            let hits = PlainHits::new(tables, py.None(), get("in_python").unbind());
            for scope in ["odd", "short", "other"] {
                let none = py.None().into_bound(py);
                let passed = hits.answer(py, &get(scope), &none, &none).unwrap();
                assert!(passed.get_item(0).unwrap().is(get(scope)));
                assert!(passed.get_item(4).unwrap().is_none());
            }
        });
    }
}
