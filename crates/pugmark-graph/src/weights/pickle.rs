//! A reader of the pickles that `torch.save` writes (protocol 2), which can build dictionaries, tuples and descriptions
//! of tensors and nothing else.
//!
//! Python's pickle machine calls whatever functions a file names; this one knows four names and stops at any other. Values
//! refer to each other by index, so that no file can make it recurse, and what it stores is proportional to the file.

use std::collections::HashMap;

use super::element::Element;
use super::error::FileProblem;

/// What is left of a Python value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    /// None, a bool, a float, a list or an integer beyond 64 bits: nothing that tensors are made of.
    Other,
    Int(i64),
    Text(&'a str),
    /// Index into the machine's tuples.
    Tuple(usize),
    /// Index into [`Pickle::dicts`].
    Dict(usize),
    /// Index into [`Pickle::tensors`].
    Tensor(usize),
    Storage(Storage<'a>),
    Callable(Callable),
}

/// Where a tensor's values are: an entry of the archive. No element type stands for integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    pub(super) element: Option<Element>,
}

/// A view of a storage; offset and strides count elements.
#[derive(Debug, Clone)]
pub(super) struct View<'a> {
    pub(super) storage: Storage<'a>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// The Python names that may occur.
#[derive(Debug, Clone, Copy)]
pub(super) enum Callable {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    StorageType(Option<Element>),
}

impl Callable {
    fn find(module: &str, name: &str) -> Result<Self, FileProblem> {
        Ok(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", "DoubleStorage") => Self::StorageType(Some(Element::F64)),
            ("torch", "FloatStorage") => Self::StorageType(Some(Element::F32)),
            ("torch", "HalfStorage") => Self::StorageType(Some(Element::F16)),
            ("torch", "BFloat16Storage") => Self::StorageType(Some(Element::Bf16)),
            ("torch", "LongStorage" | "IntStorage" | "ShortStorage" | "CharStorage") => {
                Self::StorageType(None)
            }
            ("torch", "ByteStorage" | "BoolStorage") => Self::StorageType(None),
            _ => return Err(FileProblem::Refused(printable(&format!("{module}.{name}")))),
        })
    }
}

/// A text of the file as a message may show it: short, and with nothing that a terminal acts on.
pub(super) fn printable(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_debug).collect()
}

/// What a pickle holds.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub(super) root: Value<'a>,
    pub(super) dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    pub(super) tensors: Vec<View<'a>>,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle at the start of `bytes`.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, FileProblem> {
        let mut machine = Machine {
            rest: bytes,
            dimensions: bytes.len(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            tuples: Vec::new(),
            dicts: Vec::new(),
            tensors: Vec::new(),
        };
        let root = machine.run()?;
        Ok(Self { root, dicts: machine.dicts, tensors: machine.tensors })
    }
}

/// As many dimensions as PyTorch allows.
const MAX_DIMENSIONS: usize = 64;

struct Machine<'a> {
    rest: &'a [u8],
    /// That tensors may still have: each is written somewhere, but one tuple may be named again and again.
    dimensions: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    tuples: Vec<Vec<Value<'a>>>,
    dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    tensors: Vec<View<'a>>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Value<'a>, FileProblem> {
        loop {
            let [opcode] = self.take_array()?;
            match opcode {
                b'\x80' => match self.take_array()? {
                    [2] => {}
                    [version] => return Err(FileProblem::Unsupported(format!("pickle protocol {version}"))),
                },
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                b'q' => {
                    let [index] = self.take_array()?;
                    self.memorise(index.into())?;
                }
                b'r' => {
                    let index = self.take_array().map(u32::from_le_bytes)?;
                    self.memorise(index)?;
                }
                b'h' => {
                    let [index] = self.take_array()?;
                    self.recall(index.into())?;
                }
                b'j' => {
                    let index = self.take_array().map(u32::from_le_bytes)?;
                    self.recall(index)?;
                }
                b'R' => self.call()?,
                b'Q' => self.persistent()?,
                b'b' => self.set_state()?,
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.insert([key, value])?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.insert(items)?;
                }
                // Lists: nothing of theirs is kept.
                b'a' => {
                    self.pop()?;
                }
                b'e' => {
                    self.pop_to_mark()?;
                }
                _ => {
                    let value = self.value(opcode)?;
                    self.stack.push(value);
                }
            }
        }
    }

    /// Opcodes that push one value.
    fn value(&mut self, opcode: u8) -> Result<Value<'a>, FileProblem> {
        Ok(match opcode {
            b'N' | b'\x88' | b'\x89' | b']' => Value::Other,
            b'G' => {
                self.take(8)?;
                Value::Other
            }
            b'J' => Value::Int(i32::from_le_bytes(self.take_array()?).into()),
            b'K' => Value::Int(u8::from_le_bytes(self.take_array()?).into()),
            b'M' => Value::Int(u16::from_le_bytes(self.take_array()?).into()),
            b'\x8a' => {
                let [size] = self.take_array()?;
                long(self.take(size.into())?)
            }
            b'\x8b' => {
                let size = self.take_size()?;
                long(self.take(size)?)
            }
            b'X' => {
                let size = self.take_size()?;
                Value::Text(text(self.take(size)?)?)
            }
            b'c' => {
                let (module, name) = (self.take_line()?, self.take_line()?);
                Value::Callable(Callable::find(module, name)?)
            }
            b'}' => self.new_dict(),
            b')' => self.new_tuple(Vec::new()),
            b'\x85'..=b'\x87' => {
                let size = usize::from(opcode - b'\x84');
                let start =
                    self.stack.len().checked_sub(size).ok_or_else(|| broken("a tuple of too few values"))?;
                let items = self.stack.split_off(start);
                self.new_tuple(items)
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.new_tuple(items)
            }
            _ => return Err(broken(&format!("opcode {opcode:#04x}"))),
        })
    }

    fn new_tuple(&mut self, items: Vec<Value<'a>>) -> Value<'a> {
        self.tuples.push(items);
        Value::Tuple(self.tuples.len() - 1)
    }

    fn new_dict(&mut self) -> Value<'a> {
        self.dicts.push(Vec::new());
        Value::Dict(self.dicts.len() - 1)
    }

    /// Puts alternating keys and values into the dictionary on the stack.
    fn insert(&mut self, items: impl AsRef<[Value<'a>]>) -> Result<(), FileProblem> {
        let (pairs, []) = items.as_ref().as_chunks() else { return Err(broken("a key without a value")) };
        let Some(&Value::Dict(dict)) = self.stack.last() else {
            return Err(broken("an entry for something that is no dictionary"));
        };
        self.dicts[dict].extend(pairs.iter().map(|&[key, value]| (key, value)));
        Ok(())
    }

    /// `OrderedDict()`, `_rebuild_tensor_v2(...)` or `_rebuild_parameter(...)`.
    fn call(&mut self) -> Result<(), FileProblem> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let (Value::Tuple(arguments), Value::Callable(callable)) = (arguments, callable) else {
            return Err(broken("a call of something that is no function"));
        };
        let result = match (callable, &self.tuples[arguments][..]) {
            (Callable::OrderedDict, []) => self.new_dict(),
            (
                Callable::RebuildTensor,
                &[
                    Value::Storage(storage),
                    Value::Int(offset),
                    Value::Tuple(shape),
                    Value::Tuple(strides),
                    ..,
                ],
            ) => {
                let offset = usize::try_from(offset).map_err(|_| broken("a negative offset"))?;
                let (shape, strides) = (self.dimensions(shape)?, self.dimensions(strides)?);
                if shape.len() != strides.len() {
                    return Err(broken("a tensor whose shape and strides differ in length"));
                }
                self.tensors.push(View { storage, offset, shape, strides });
                Value::Tensor(self.tensors.len() - 1)
            }
            (Callable::RebuildParameter, &[tensor @ Value::Tensor(_), ..]) => tensor,
            _ => return Err(broken("a call with arguments that do not fit")),
        };
        self.stack.push(result);
        Ok(())
    }

    fn dimensions(&mut self, tuple: usize) -> Result<Vec<usize>, FileProblem> {
        let items = &self.tuples[tuple];
        if items.len() > MAX_DIMENSIONS {
            return Err(broken(&format!("a tensor of {} dimensions", items.len())));
        }
        let left = self.dimensions.checked_sub(items.len());
        self.dimensions = left.ok_or_else(|| broken("more dimensions than bytes"))?;
        let length = |item: &Value<'_>| match *item {
            Value::Int(value) => usize::try_from(value).ok(),
            _ => None,
        };
        items.iter().map(|i| length(i).ok_or_else(|| broken("a dimension that is no length"))).collect()
    }

    /// `('storage', type, key, device, length)`: the length is not trusted, the archive's entry has its own.
    fn persistent(&mut self) -> Result<(), FileProblem> {
        let id = self.pop()?;
        let Value::Tuple(id) = id else { return Err(broken("a persistent id that is no tuple")) };
        let &[Value::Text("storage"), Value::Callable(Callable::StorageType(element)), Value::Text(key), ..] =
            &self.tuples[id][..]
        else {
            return Err(broken("a persistent id that is no storage"));
        };
        self.stack.push(Value::Storage(Storage { key, element }));
        Ok(())
    }

    /// A state dictionary carries its modules' versions as an attribute, which nothing here needs.
    fn set_state(&mut self) -> Result<(), FileProblem> {
        self.pop()?;
        match self.stack.last() {
            Some(Value::Dict(_)) => Ok(()),
            _ => Err(broken("attributes for something that is no dictionary")),
        }
    }

    fn memorise(&mut self, index: u32) -> Result<(), FileProblem> {
        let value = *self.stack.last().ok_or_else(|| broken("an empty stack"))?;
        self.memo.insert(index, value);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<(), FileProblem> {
        let value = *self.memo.get(&index).ok_or_else(|| broken("a reference to nothing"))?;
        self.stack.push(value);
        Ok(())
    }

    /// The topmost value above the last mark.
    fn pop(&mut self) -> Result<Value<'a>, FileProblem> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let value = if self.stack.len() > floor { self.stack.pop() } else { None };
        value.ok_or_else(|| broken("an empty stack"))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value<'a>>, FileProblem> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len());
        Ok(self.stack.split_off(mark.ok_or_else(|| broken("no mark"))?))
    }

    fn take(&mut self, size: usize) -> Result<&'a [u8], FileProblem> {
        let (taken, rest) = self.rest.split_at_checked(size).ok_or_else(|| broken("an early end"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], FileProblem> {
        let (&taken, rest) = self.rest.split_first_chunk().ok_or_else(|| broken("an early end"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// Lengths beyond the address space end in an early end of the file.
    fn take_size(&mut self) -> Result<usize, FileProblem> {
        Ok(usize::try_from(u32::from_le_bytes(self.take_array()?)).unwrap_or(usize::MAX))
    }

    fn take_line(&mut self) -> Result<&'a str, FileProblem> {
        let size = self.rest.iter().position(|&b| b == b'\n').ok_or_else(|| broken("an early end"))?;
        let line = self.take(size)?;
        self.take(1)?;
        text(line)
    }
}

/// A little-endian two's complement integer of any length.
fn long<'a>(bytes: &[u8]) -> Value<'a> {
    if bytes.len() > 8 {
        return Value::Other;
    }
    let negative = bytes.last().is_some_and(|&b| b >= 0x80);
    let mut whole = [if negative { 0xff } else { 0 }; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(whole))
}

fn text(bytes: &[u8]) -> Result<&str, FileProblem> {
    std::str::from_utf8(bytes).map_err(|_| broken("text that is not UTF-8"))
}

fn broken(what: &str) -> FileProblem {
    FileProblem::Damaged(format!("its pickle has {what}"))
}
