import Contracts

/// Proves that a form was made by one of the console's own pages, for the one who posts it and in the workspace that the page showed.
///
/// A page of another origin cannot read the console's pages, so it cannot know a form's token. It is bound to the session, the caller and the
/// workspace: a form that was made in one workspace does nothing in another, however the tabs of a browser are mixed.
package struct FormProof: Sendable {
    /// Of this process: forms of pages from before a restart are refused with the advice to load the page again.
    private let key: String

    package init(key: String) { self.key = key }

    /// - Parameter session: the digest of the session's cookie; nil for the local owner, who needs none.
    package func token(session: Digest?, _ caller: Caller) -> String { MessageCode.hex(of: subject(session, caller), key: key) }

    /// - Throws: `permissionDenied` for another token than the one of the page.
    package func require(_ token: String, session: Digest?, _ caller: Caller) throws(KeelError) {
        guard MessageCode.isValid(token, of: subject(session, caller), key: key) else {
            throw KeelError(
                .permissionDenied,
                "the page that this form is from is out of date: the server was restarted, you signed in anew, or another workspace was opened",
                hint: "load the page again; nothing was changed")
        }
    }

    private func subject(_ session: Digest?, _ caller: Caller) -> String {
        "\(session?.hex ?? "owner")\n\(caller.name)\n\(caller.workspace.name)"
    }
}
