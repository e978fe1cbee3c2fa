//! What a source file imports, and how long its functions are.

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, UseTree};

/// A file of src, by its path there, without its tests.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: String,
    pub(super) lines: usize,
    pub(super) imports: Vec<Import>,
    /// Names that this file shows of others, and where they are: `pub use`.
    pub(super) shown: Vec<(String, Vec<String>)>,
    pub(super) functions: Vec<Function>,
    /// The types that it implements something for, with their lines.
    pub(super) implements: Vec<(String, usize)>,
}

/// A path, in a `use` or where it stands.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) line: usize,
    pub(super) path: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Function {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) lines: usize,
    pub(super) doc: String,
}

impl Source {
    pub(super) fn read(path: &str, text: &str) -> Source {
        let mut source = Source {
            path: path.to_owned(),
            lines: text.lines().count(),
            imports: Vec::new(),
            shown: Vec::new(),
            functions: Vec::new(),
            implements: Vec::new(),
        };
        let file = syn::parse_file(text).unwrap_or_else(|e| panic!("{path}: {e}"));
        source.visit_file(&file);
        // What spans refer to is of no use any more, and would be searched for each line of the next file.
        proc_macro2::extra::invalidate_current_thread_spans();
        source
    }

    fn import(&mut self, line: usize, path: Vec<String>) {
        if path.len() > 1 {
            self.imports.push(Import { line, path });
        }
    }

    fn function(&mut self, attributes: &[Attribute], name: &syn::Ident, whole: proc_macro2::Span) {
        let line = name.span().start().line;
        self.functions.push(Function {
            line,
            name: name.to_string(),
            lines: whole.end().line + 1 - line,
            doc: doc(attributes),
        });
    }

    /// Paths in what a macro is given, which is no syntax yet.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let (mut line, mut colons) = (0, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.import(line, std::mem::take(&mut path));
                    }
                    line = name.span().start().line;
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.import(line, std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.import(line, path);
    }
}

fn doc(attributes: &[Attribute]) -> String {
    let docs = attributes.iter().filter_map(|attribute| {
        let syn::Meta::NameValue(pair) = &attribute.meta else {
            return None;
        };
        match &pair.value {
            syn::Expr::Lit(lit) if pair.path.is_ident("doc") => match &lit.lit {
                syn::Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        }
    });
    docs.collect()
}

fn is_of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_cfg_test = || {
            let arguments = attribute.meta.require_list();
            arguments.is_ok_and(|list| list.tokens.to_string() == "test")
        };
        attribute.path().is_ident("cfg") && is_cfg_test()
    })
}

/// Each name of a `use`, with its path.
fn leaves(tree: &UseTree, before: &[String], found: &mut Vec<(String, Vec<String>)>) {
    let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
    match tree {
        UseTree::Path(path) => leaves(&path.tree, &with(&path.ident), found),
        UseTree::Name(name) if name.ident == "self" => {
            found.push((before.last().cloned().unwrap_or_default(), before.to_vec()));
        }
        UseTree::Name(name) => found.push((name.ident.to_string(), with(&name.ident))),
        UseTree::Rename(rename) => found.push((rename.rename.to_string(), with(&rename.ident))),
        UseTree::Glob(_) => found.push(("*".to_owned(), before.to_vec())),
        UseTree::Group(group) => group.items.iter().for_each(|t| leaves(t, before, found)),
    }
}

impl<'a> Visit<'a> for Source {
    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        if !is_of_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        let mut found = Vec::new();
        leaves(&item.tree, &[], &mut found);
        for (name, path) in found {
            if !matches!(item.vis, syn::Visibility::Inherited) {
                self.shown.push((name, path.clone()));
            }
            self.import(item.span().start().line, path);
        }
    }

    /// The path in `pub(in PATH)` is no import.
    fn visit_vis_restricted(&mut self, _: &'a syn::VisRestricted) {}

    fn visit_path(&mut self, path: &'a syn::Path) {
        let names = path.segments.iter().map(|s| s.ident.to_string());
        self.import(path.span().start().line, names.collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        if !is_of_tests(&item.attrs) {
            self.function(&item.attrs, &item.sig.ident, item.span());
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.function(&item.attrs, &item.sig.ident, item.span());
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'a syn::ItemImpl) {
        if let syn::Type::Path(of) = &*item.self_ty {
            let name = of.path.segments.last().map(|s| s.ident.to_string());
            let line = item.impl_token.span.start().line;
            self.implements.push((name.unwrap_or_default(), line));
        }
        visit::visit_item_impl(self, item);
    }
}
