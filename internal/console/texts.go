package console

import "fmt"

// text is a text of the pages, with values in the place of its verbs. They are escaped where the page is made.
func text(key string, values ...any) string {
	s, ok := texts[key]
	if !ok {
		return key
	}
	if len(values) == 0 {
		return s
	}
	return fmt.Sprintf(s, values...)
}

// texts are all texts that people read.
var texts = map[string]string{
	"skip": "Skip to the content", "nav": "Main", "nav.access": "Apps with access", "nav.apps": "My apps", "nav.admin": "All apps",
	"nav.logout": "Log out", "nav.user": "Logged in as",

	"login.title": "Log in", "login.for": "to go on to", "login.name": "Name", "login.password": "Password",
	"login.remember": "Stay logged in on this device", "login.remember.hint": "Leave this off on a device that others use.",
	"login.submit": "Log in", "login.cancel": "Cancel and go back to the app",
	"login.wrong":     "Name or password is wrong.",
	"login.throttled": "There were too many wrong passwords. Wait half a minute, then try again.",
	"login.other":     "This browser is logged in as somebody else. Log out there first, then start again from the app.",

	"device.title": "Connect a device", "device.about": "A device or program that cannot open a page shows a code. Enter it here to let it in.",
	"device.code": "Code", "device.hint": "Eight letters, such as BCDF-GHJK.", "device.submit": "Go on",
	"device.given": "Go on only if your own device shows this code now. If somebody sent you this link, it would let their device into your account.",
	"device.wrong": "There is no such code, or it was used or ran out. Look again, or have the device show a new one.", "device.throttled": "There were too many wrong codes. Wait a while, then try again.",
	"device.granted": "The device is connected", "device.granted.text": "You can close this page and go on at your device. You find it under “Apps with access”.",
	"device.refused": "The device was refused", "device.refused.text": "It gets nothing. You can close this page.",
	"device.failed": "The device was not connected", "device.failed.text": "The code was used or ran out, or the page was opened in another browser. Have the device show a new code and start again.",

	"app.owner": "Belongs to", "app.noowner": "nobody known", "app.verified": "Verified by the administrators", "app.since": "Registered",
	"app.website": "Website", "app.logo": "Logo", "app.policy": "Privacy policy", "app.terms": "Terms of service",
	"app.links": "The app's own links", "app.goes": "Sends you to", "app.nowhere": "an address that it did not register", "app.id": "App id",

	"consent.title": "wants access to your account", "consent.as": "You are", "consent.about": "About this app",
	"consent.careful": "Look closely", "consent.scopes": "What it may do", "consent.scopes.hint": "Take away what you do not want to give.",
	"consent.required": "needed for logging in", "consent.unknown": "This service has no description of it: this is the word that the app uses.",
	"consent.audience": "Where it may use this", "consent.remember": "Do not ask me again for this app",
	"consent.allow": "Allow", "consent.refuse": "Refuse", "consent.none": "Choose at least one permission, or refuse.",
	"consent.later": "You can take this back at any time under “Apps with access”.",

	"logout.title": "Do you want to log out?", "logout.app": "This was asked for by", "logout.as": "You are logged in as",
	"logout.submit": "Log out", "logout.stay": "Stay logged in",

	"error.title": "The app's request could not be carried out", "error.text": "The login server gave this reason. Go back to the app and try again.",
	"error.code": "Error", "error.description": "Details",

	"reject.login": "the person cancelled the login", "reject.consent": "the person refused the consent",
	"reject.blocked": "the app has been blocked by an administrator", "reject.gone": "the account is no longer there",

	"warn.unverified": "The administrators have not verified this app. Go on only if you trust who sent you here.",
	"warn.young":      "This app is new here: it was registered on %s.",
	"warn.hidden":     "The app's name has characters that cannot be seen.",
	"warn.mixed":      "The app's name mixes letters of several alphabets that look alike.",
	"warn.us":         "The app's name looks like that of this service (%s), and it is not part of it.",
	"warn.imitates":   "The app's name looks like that of a verified app, %s, and it is another one.",
	"warn.same":       "Another owner's app has a name that looks the same: %s.",

	"target.code":    "the device that showed you the code",
	"target.machine": "an app on this device (%s)", "target.device": "an app on this device (%s)", "target.open": "%s, without encryption",

	"scope.openid": "Know who you are", "scope.openid.detail": "The name under which this service knows you.",
	"scope.profile": "See your profile", "scope.profile.detail": "Such as the name that is shown to others.",
	"scope.email": "See your e-mail address", "scope.email.detail": "",
	"scope.address": "See your postal address", "scope.address.detail": "",
	"scope.phone": "See your phone number", "scope.phone.detail": "",
	"scope.offline_access": "Stay connected while you are away", "scope.offline_access.detail": "The app keeps its access until you take it back.",
	"scope.offline": "Stay connected while you are away", "scope.offline.detail": "The app keeps its access until you take it back.",

	"access.title": "Apps with access", "access.intro": "These apps may use your account. Take back what you do not use.",
	"access.none": "No app has access to your account.", "access.since": "Since", "access.scopes": "May", "access.audience": "At",
	"access.revoke": "Take access back", "access.all": "Take all access back", "access.more": "For all of them",
	"access.forget": "Log out all browsers", "access.forget.hint": "Browsers that stayed logged in ask for your password again. Apps keep the access that they have.",

	"apps.title": "My apps", "apps.new": "Register an app", "apps.none": "You have not registered an app.",
	"apps.redirects": "Redirect addresses", "apps.scopes": "May ask for", "apps.kind": "Kind", "apps.public": "without a secret", "apps.confidential": "with a secret",
	"apps.state": "State", "apps.unverified": "not verified", "apps.blocked": "Blocked by the administrators",
	"apps.renew": "New secret", "apps.renew.hint": "The old secret stops working at once, or a day later.", "apps.keep": "Let the old secret work for another day", "apps.oldsecret": "Old secret works until", "apps.delete": "Delete",
	"apps.sure": "Its users lose access, and its tokens stop working. I want that.", "apps.more": "New secret or delete",
	"apps.made": "The app is registered", "apps.secret": "The secret", "apps.secret.once": "Copy it now: it is shown this once, and nobody can look it up later.",

	"edit.title": "Edit the app", "edit.submit": "Save", "apps.edit": "Edit", "edit.kept": "The app also keeps, from the administrators:",
	"edit.about":  "What apps hold already lives on. A scope that you take away is gone from the next token; with another name or address the app has to be verified again.",
	"audit.title": "What was done", "audit.back": "All apps", "audit.client": "App id", "audit.when": "When", "audit.who": "Who", "audit.intent": "In order to", "audit.app": "App",
	"audit.subject": "Whose", "audit.none": "Nothing yet.", "audit.older": "Older", "audit.nowhere": "This server keeps no record. The console's own is in the file of --audit.",

	"new.title": "Register an app", "new.name": "Name", "new.name.hint": "People see it when they are asked for consent.",
	"new.redirects": "Redirect addresses, one a line", "new.redirects.hint": "Where people go with the answer: https, or http on their own device.",
	"new.kind": "Where does the app run?", "new.kind.web": "On a server of mine", "new.kind.web.hint": "It gets a secret, which only the server knows.",
	"new.kind.public": "On people's devices or in their browsers", "new.kind.public.hint": "It can keep no secret, and uses PKCE.",
	"new.scopes": "What it may ask for", "new.submit": "Register", "new.fix": "Some fields need another look",
	"new.name.none": "Enter a name with letters or digits.", "new.name.long": "Use at most %d characters.",
	"new.name.hidden": "The name has characters that cannot be seen, or spaces beyond the usual.", "new.name.mixed": "The name mixes letters of several alphabets that look alike.",
	"new.name.us": "This is the name of the service itself.", "new.name.taken": "This name looks like that of a verified app of somebody else.",
	"new.redirects.none": "Enter at least one address.", "new.redirects.many": "Enter at most %d addresses.", "new.redirects.wrong": "%s: %s",
	"new.scopes.none": "Choose at least one.", "new.scopes.other": "One of these cannot be had for an app that you register yourself.",
	"new.many": "You have %d apps already; delete one first.", "new.refused": "The server refuses the app: %s",

	"redirect.absolute": "is no complete address, such as https://app.example/callback", "redirect.fragment": "has a #, which addresses for answers may not have",
	"redirect.user": "has a user name or password", "redirect.characters": "has characters that addresses do not have; write names of other alphabets as xn--…",
	"redirect.wildcard": "has a *: each address is registered as it is", "redirect.scheme": "is something that browsers open themselves",
	"redirect.http": "is http, where others could read the answer; use https", "redirect.web": "is no https address, as an app on a server has",
	"redirect.reverse": "has a scheme that is no domain name in reverse, such as com.example.app:/callback",

	"admin.title": "All apps", "admin.owner": "Owner", "admin.filter": "Show", "admin.none": "There are no apps.", "admin.nobody": "Nobody",
	"admin.verify": "Verify", "admin.verify.hint": "For name, owner and addresses as they are now: a change takes it back.", "admin.unverify": "Take verification back",
	"admin.block": "Block", "admin.unblock": "Unblock", "admin.block.hint": "These pages refuse log-ins and consents of the app. Tokens that it has live on.",
	"admin.tokens": "End access tokens", "admin.tokens.hint": "Refresh tokens live on, and get new ones. Deleting the app ends all.",
	"admin.more": "Change", "admin.sure": "All its tokens and consents are deleted. I want that.",

	"fault.nokeep.title": "This server keeps no old secrets", "fault.nokeep.text": "Take a new one that works at once in the old one's place. Nothing was changed.",
	"fault.nosecret.title": "This app has no secret", "fault.nosecret.text": "It runs on people's devices and uses PKCE, or signs with a key of its own.",
	"fault.unsure.title": "Nothing was deleted", "fault.unsure.text": "Go back and tick the box that says what is lost.",
	"fault.changed.title": "The app has changed", "fault.changed.text": "Go back, load the page again and look once more. Nothing was changed.",
	"fault.nometadata.title": "The server did not keep this", "fault.nometadata.text": "Its generation has no metadata of apps. Nothing was changed.",
	"fault.again":        "Start again",
	"fault.nopage.title": "There is no such page", "fault.nopage.text": "The address may have been cut off or mistyped.",
	"fault.method.title": "This cannot be done in this way", "fault.method.text": "Open the page in a browser.",
	"fault.forged.title": "This form was not sent from its page", "fault.forged.text": "It may have been open for too long, or your browser keeps no cookies. Go back, load the page again and try once more. Nothing was changed.",
	"fault.form.title": "The form cannot be read", "fault.form.text": "Go back, load the page again and try once more. Nothing was changed.",
	"fault.large.title": "The form is too large", "fault.large.text": "Shorten what you entered. Nothing was changed.",
	"fault.loggedout.title": "You are logged out", "fault.loggedout.text": "Log in and try again. Nothing was changed.",
	"fault.notadmin.title": "This page is for administrators", "fault.notadmin.text": "Ask one of them for what you need.",
	"fault.unknown.title": "This link does not work any more", "fault.unknown.text": "It has expired, or it was never complete. Go back to the app and start again there.",
	"fault.used.title": "This has been answered already", "fault.used.text": "A log-in or consent works once. If the app does not go on, start again there.",
	"fault.notyours.title": "This consent belongs to another log-in", "fault.notyours.text": "It was begun in another browser, or too long ago. Go back to the app and start again there.",
	"fault.noapp.title": "There is no such app", "fault.noapp.text": "It may have been deleted, or it belongs to somebody else.",
	"fault.astray.title": "The login server points elsewhere", "fault.astray.text": "It wants to send you to an address that is not its own. Tell the administrators; their log says more.",
	"fault.server.title": "The login server cannot be reached", "fault.server.text": "Try again in a moment.",
}
